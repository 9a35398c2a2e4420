"""Uncertainty under shift, beside the methods that are usually taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from nsm import data, measures, models, rivals
from nsm.data import ImageSet, Splits
from nsm.inference import Prediction, tempered
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
# Images that no network learns and every temperature is fitted to.
_HELD_OUT = 2000
# The last quarter of the epochs shows the digits as they are: what a network is as sure of as it is right.
_CHANGED = 0.75
_PRECISION = 1.0
_INSPECTED = 100
_UNSHIFTED = 20  # times as many images as of a shifted set


def configuration(kind: str, *, seed: int, epochs: int | None) -> Config:
    """One run: a network of the published comparison or the twin with dropout, with centered weights if
    ``kind`` ends so, without the images held out, and shifted only for the first epochs.
    """
    plain = kind.removesuffix(_CENTERED)
    changes = [f"validation={_HELD_OUT}", f"until={_CHANGED}"]
    if kind != plain:
        changes.append("centered=true")
    if plain == "twin-dropout":
        plain, changes = "twin", [*changes, "model=twin-dropout"]
    return with_overrides(mnist.configuration(NETWORK, plain, seed=seed, epochs=epochs), changes)


def jobs(folder: Path, *, seeds: int, epochs: int | None = None) -> list[runs.Job]:
    """Every run that the study needs. With centered weights: network and twin with dropout for each seed, as
    many twins as an ensemble has members for each. As published: network and twin of one seed.
    """
    counts = {
        f"bnsm{_CENTERED}": seeds,
        f"twin-dropout{_CENTERED}": seeds,
        f"twin{_CENTERED}": MEMBERS + seeds - 1,
        "bnsm": 1,
        "twin": 1,
    }
    return [
        runs.Job(
            kind,
            configuration(kind, seed=seed, epochs=epochs),
            folder / f"{NETWORK}-{kind}-{seed}" / str(epochs or "recipe"),
        )
        for kind, count in counts.items()
        for seed in range(count)
    ]


def score(_job: runs.Job, _net: models.Network, _splits: Splits) -> Mapping[str, Any]:
    """Nothing: the study reads the test set itself, shifted and as it is."""
    return {}


class Trained(NamedTuple):
    """The networks of one seed.

    Attributes:
        nsm: Neural Sampling Machine with centered weights, as all but the published two.
        dropout: twin with dropout.
        twins: the ensemble's members; the first is the deterministic network.
        published: Neural Sampling Machine as published, and its twin, where there are any.
    """

    nsm: nn.Module
    dropout: nn.Module
    twins: Sequence[nn.Sequential]
    published: tuple[nn.Module, nn.Module] | None


def trained(wanted: Sequence[runs.Job], seed: int) -> Trained:
    """Load the networks of one seed from their run folders; the ensemble has its twin and the next seeds'."""
    folders = {(job.label, job.config.training.seed): job.folder for job in wanted}

    def load(kind: str, seed: int = seed) -> models.Network:
        return models.load(folders[kind, seed]).eval()

    twins = [load(f"twin{_CENTERED}", seed + number) for number in range(MEMBERS)]
    centered = load(f"bnsm{_CENTERED}"), load(f"twin-dropout{_CENTERED}")
    published = (load("bnsm"), load("twin")) if ("bnsm", seed) in folders else None
    return Trained(*centered, twins, published)


def methods(nets: Trained, learned: ImageSet, held_out: ImageSet) -> list[Method]:
    """The Neural Sampling Machine and its rivals, each with a temperature of its own.

    Args:
        nets: the networks.
        learned: their training images, for Laplace's approximation and for the noise of the machine's
            margins.
        held_out: images that no network learned, which the temperatures are fitted to.
    """
    fixed = {"samples": FIXED}
    x, _ = learned.batch(torch.arange(min(_LEARNED, len(learned))))
    laplace = rivals.last_layer_laplace(nets.twins[0], x, precision=_PRECISION)
    until = {**UNTIL_SETTLED, "noise": fitted_noise(nets.nsm, learned)}
    compared = [
        Method(f"NSM, {FIXED} samples", nets.nsm, fixed),
        Method("NSM, until settled", nets.nsm, until),
        Method("deterministic", nets.twins[0], {"samples": 1}),
        Method(f"MC dropout, {FIXED} samples", rivals.mc_dropout(nets.dropout), fixed),
        Method(f"ensemble of {MEMBERS}", rivals.Ensemble(nets.twins), {"samples": MEMBERS}),
        Method(f"last-layer Laplace, {FIXED} samples", laplace, fixed),
    ]
    if nets.published:
        nsm, twin = nets.published
        compared += [
            Method(f"NSM, not centered, {FIXED} samples", nsm, fixed),
            Method("deterministic, not centered", twin, {"samples": 1}),
        ]
    return [method.at_temperature(held_out) for method in compared]


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
    splits = data.load(wanted[0].config.data.set, root, validation=_HELD_OUT)
    some = splits.test.subset(torch.arange(min(images, len(splits.test))))
    size = (some.images.shape[2], some.images.shape[3])
    strange = list(shifts.unknown(len(some), size, root))
    more = splits.test.subset(torch.arange(min(_UNSHIFTED * images, len(splits.test))))
    changed = [shifts.Shifted("none", "none", 0, more), *shifts.known(some)]
    total, rows = seeds * (len(changed) + len(strange)), list[Row]()
    for seed in range(seeds):
        compared = methods(trained(wanted, seed), splits.train, splits.validation)
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
