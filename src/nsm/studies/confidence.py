"""Uncertainty under shift, beside the methods that are usually taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from nsm import data, measures, models, rivals
from nsm.data import ImageSet, Splits
from nsm.inference import MarginNoise, Prediction, fit_temperature, tempered
from nsm.nn import stochastic_layers
from nsm.studies import mnist, runs, shifts
from nsm.studies.cost import cost
from nsm.studies.method import FIXED, UNTIL_SETTLED, Method, fitted_noise
from nsm.studies.results import Row
from nsm.studies.signals import states
from nsm.training import Config, with_overrides

STUDY = "confidence"
NETWORK = "mnist-cnn"
MEMBERS = 5
_SEED = 0
_LEARNED = 10_000
_CENTERED = "-centered"
_HELD_OUT, _HELD_OUT_IMAGES = "-held-out", 10_000
_PRECISION = 1.0
_INSPECTED = 100
_UNSHIFTED = 20  # times as many images as of a shifted set
_COOLED = 2000


def configuration(kind: str, *, seed: int, epochs: int | None) -> Config:
    """One run of the published comparison, with centered weights if ``kind`` ends so, or the twin with
    dropout.
    """
    plain = kind.removesuffix(_CENTERED)
    changes = ["centered=true"] if kind != plain else []
    if plain == "twin-dropout":
        plain, changes = "twin", [*changes, "model=twin-dropout"]
    return with_overrides(mnist.configuration(NETWORK, plain, seed=seed, epochs=epochs), changes)


def jobs(folder: Path, *, seeds: int, epochs: int | None = None) -> list[runs.Job]:
    """Every run that the study needs. With centered weights: network and twin with dropout for each seed, as
    many twins as an ensemble has members for each, and one of each kind without the images that temperatures
    are fitted to. As published, in the folders of :func:`nsm.studies.mnist.jobs`: network and twin for each
    seed.
    """
    kinds = [f"{kind}{_CENTERED}" for kind in ("bnsm", "twin-dropout", "twin")]
    counts = (seeds, seeds, MEMBERS + seeds - 1)
    needed = [(kind, seed) for kind, count in zip(kinds, counts, strict=True) for seed in range(count)]
    needed += [(kind, seed) for kind in ("bnsm", "twin") for seed in range(seeds)]
    name = str(epochs or "recipe")
    found = [
        runs.Job(
            kind,
            configuration(kind, seed=seed, epochs=epochs),
            folder / f"{NETWORK}-{kind}-{seed}" / name,
        )
        for kind, seed in needed
    ]
    for kind in kinds:
        config = with_overrides(
            configuration(kind, seed=_SEED, epochs=epochs), [f"validation={_HELD_OUT_IMAGES}"]
        )
        found.append(
            runs.Job(kind + _HELD_OUT, config, folder / f"{NETWORK}-{kind}-{_SEED}" / (name + _HELD_OUT))
        )
    return found


def score(job: runs.Job, net: models.Network, splits: Splits) -> Mapping[str, Any]:
    """As in the published comparison; networks that temperatures are fitted with never see the test set."""
    return {} if job.label.endswith(_HELD_OUT) else mnist.score(job, net, splits)


class Trained(NamedTuple):
    """The networks of one seed, with centered weights but for the last two.

    Attributes:
        nsm: Neural Sampling Machine.
        dropout: twin with dropout.
        twins: the ensemble's members; the first is the deterministic network.
        published: Neural Sampling Machine as published, and its twin; none where temperatures are fitted.
    """

    nsm: nn.Module
    dropout: nn.Module
    twins: Sequence[nn.Sequential]
    published: tuple[nn.Module, nn.Module] | None = None


def trained(wanted: Sequence[runs.Job], seed: int) -> Trained:
    """Load the networks of one seed from their run folders; the ensemble has its twin and the next seeds'."""

    def load(kind: str, seed: int = seed) -> models.Network:
        return _load(wanted, kind, seed)

    twins = [load(f"twin{_CENTERED}", seed + number) for number in range(MEMBERS)]
    centered = load(f"bnsm{_CENTERED}"), load(f"twin-dropout{_CENTERED}")
    return Trained(*centered, twins, (load("bnsm"), load("twin")))


def _load(wanted: Sequence[runs.Job], label: str, seed: int) -> models.Network:
    (folder,) = [job.folder for job in wanted if (job.label, job.config.training.seed) == (label, seed)]
    return models.load(folder).eval()


def temperatures(wanted: Sequence[runs.Job], root: Path | None) -> dict[str, float]:
    """The temperature of each method that always takes the same samples of one network, by name.

    Fitted to some of the images that a network of its kind and recipe did not learn. An ensemble would need
    five more.
    """
    splits = data.load(wanted[0].config.data.set, root, validation=_HELD_OUT_IMAGES)
    held_out = splits.validation.subset(torch.arange(min(_COOLED, len(splits.validation))))
    nsm, dropout, twin = (
        _load(wanted, kind + _CENTERED + _HELD_OUT, _SEED) for kind in ("bnsm", "twin-dropout", "twin")
    )
    compared = methods(Trained(nsm, dropout, [twin]), splits.train, MarginNoise(), {})
    return {
        method.name: fit_temperature(method.predict(held_out)[0].probabilities, held_out.targets)
        for method in compared
        if "samples" in method.arguments and not isinstance(method.net, rivals.Ensemble)
    }


def methods(
    nets: Trained, learned: ImageSet, noise: MarginNoise, fitted: Mapping[str, float]
) -> list[Method]:
    """The Neural Sampling Machine and its rivals.

    Args:
        nets: the networks.
        learned: their training images, for Laplace's approximation.
        noise: of the machine's margins.
        fitted: temperatures by the method's name.
    """
    fixed = {"samples": FIXED}
    x, _ = learned.batch(torch.arange(min(_LEARNED, len(learned))))
    laplace = rivals.last_layer_laplace(nets.twins[0], x, precision=_PRECISION)
    until = {**UNTIL_SETTLED, "noise": noise}
    compared: list[tuple[str, nn.Module, Mapping[str, Any]]] = [
        (f"NSM, {FIXED} samples", nets.nsm, fixed),
        ("NSM, until settled", nets.nsm, until),
        ("deterministic", nets.twins[0], {"samples": 1}),
        (f"MC dropout, {FIXED} samples", rivals.mc_dropout(nets.dropout), fixed),
        (f"ensemble of {MEMBERS}", rivals.Ensemble(nets.twins), {"samples": MEMBERS}),
        (f"last-layer Laplace, {FIXED} samples", laplace, fixed),
    ]
    if nets.published:
        nsm, twin = nets.published
        compared += [
            (f"NSM, not centered, {FIXED} samples", nsm, fixed),
            ("deterministic, not centered", twin, {"samples": 1}),
        ]
    return [Method(name, net, arguments, fitted.get(name)) for name, net, arguments in compared]


def run(
    wanted: Sequence[runs.Job],
    *,
    seeds: int,
    images: int,
    root: Path | None,
    progress: Callable[[int, int], object],
) -> Iterator[list[Row]]:
    """All rows known so far, after every measured set.

    Args:
        wanted: jobs that are trained, from :func:`jobs`.
        seeds: seeds 0 .. seeds - 1.
        images: images of each shifted set; of the test set as it is, twenty times as many.
        root: data folder, see :func:`nsm.data.load`.
        progress: called with the number of sets measured and of all.
    """
    splits = data.load(wanted[0].config.data.set, root, validation=0)
    some = splits.test.subset(torch.arange(min(images, len(splits.test))))
    size = (some.images.shape[2], some.images.shape[3])
    strange = list(shifts.unknown(len(some), size, root))
    more = splits.test.subset(torch.arange(min(_UNSHIFTED * images, len(splits.test))))
    changed = [shifts.Shifted("none", "none", 0, more), *shifts.known(some)]
    fitted = temperatures(wanted, root)
    total, rows = seeds * (len(changed) + len(strange)), list[Row]()
    for seed in range(seeds):
        nets = trained(wanted, seed)
        noise = fitted_noise(nets.nsm, splits.train)
        compared = methods(nets, splits.train, noise, fitted)
        known = {method.name: method.predict(some)[0] for method in compared}
        for shift in (*changed, *strange):
            rows += [_under_shift(seed, method, shift, known[method.name], some) for method in compared]
            progress(len({_measured(row) for row in rows}), total)
            yield rows


def _measured(row: Row) -> tuple[Any, ...]:
    return tuple(row[key] for key in ("seed", "set", "name", "strength"))


def _under_shift(
    seed: int, method: Method, shift: shifts.Shifted, known: Prediction, images: ImageSet
) -> dict[str, Any]:
    """How good a method's predictions are, and whether their uncertainty tells unknown images from known."""
    said, milliseconds = method.predict(shift.images)
    used = float(said.samples_used.double().mean())
    spent = cost(method.net, images.batch(torch.arange(1))[0], max(1, round(used)))
    row: dict[str, Any] = {
        "seed": seed,
        "method": method.name,
        "set": shift.kind,
        "name": shift.name,
        "strength": shift.strength,
        "n": len(shift.images),
        "samples": used,
        "milliseconds": milliseconds,
        **spent._asdict(),
    }
    if stochastic_layers(method.net) and "samples" in method.arguments:
        x, _ = shift.images.batch(torch.arange(min(_INSPECTED, len(shift.images))))
        for number, state in enumerate(states(method.net, x), 1):
            row |= {f"undecided_{number}": 100.0 * state.undecided, f"common_{number}": 100.0 * state.common}
    if shift.is_known:
        targets = shift.images.targets
        wrong = said.probabilities.argmax(1) != targets
        row |= {"error_percent": 100.0 * float(wrong.double().mean()), **_scores(said.probabilities, targets)}
        if method.temperature is not None:
            cooled = _scores(tempered(said.probabilities, method.temperature), targets)
            row["temperature"] = method.temperature
            row |= {f"tempered_{name}": value for name, value in cooled.items() if name != "aurc"}
        return row
    target = torch.cat((torch.zeros(len(known.entropy)), torch.ones(len(said.entropy))))
    for name in ("entropy", "mutual_information"):
        values = torch.cat((getattr(known, name), getattr(said, name)))
        for label, detector in (
            ("auroc", measures.AUROC()),
            ("aupr", measures.AUPR()),
            ("fpr95", measures.FPR95()),
        ):
            detector.update(values, target)
            row[f"{label}_{name}"] = float(detector.compute())
    return row


def _scores(probs: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    scores = {
        "nll": measures.CategoricalNLL(),
        "ece": measures.CalibrationError(),
        "aurc": measures.AURC(),
    }
    for measure in scores.values():
        measure.update(probs, targets)
    return {name: float(measure.compute()) for name, measure in scores.items()}
