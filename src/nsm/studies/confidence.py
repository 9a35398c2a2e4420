"""What confidence costs and is worth: as many samples as needed against a fixed number, and uncertainty under
shift beside the methods that are usually taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from nsm import data, measures, models, predict, rivals
from nsm.data import ImageSet, Splits
from nsm.inference import (
    MarginNoise,
    Prediction,
    Reason,
    fit_margin_noise,
    fit_temperature,
    tempered,
)
from nsm.inference.prediction import joined
from nsm.models.files import WEIGHTS_FILE
from nsm.studies import mnist, runs, shifts
from nsm.studies.cost import cost
from nsm.studies.results import Row
from nsm.training import Config, with_overrides

STUDY = "confidence"
NETWORK = "mnist-cnn"
MEMBERS = 5
FIXED, CONFIDENCE, MAX_SAMPLES = 100, 0.99, 1000
_REFERENCE = (100, 1_000, 10_000)
# Scores so many standard errors from a tie are on the same side of it with more samples.
_BEYOND_DOUBT = 6.0
_SEED, _REFERENCE_SEED, _FIT_SEED = 0, 1, 2
_FITTED_TO = 500
_LEARNED = 10_000
_HELD_OUT, _HELD_OUT_IMAGES = "-held-out", 10_000
_PRECISION = 1.0
_BATCH = 250


def configuration(kind: str, *, seed: int, epochs: int | None) -> Config:
    """One run of the published comparison, or the twin with dropout."""
    if kind == "twin-dropout":
        return with_overrides(
            mnist.configuration(NETWORK, "twin", seed=seed, epochs=epochs), ["model=twin-dropout"]
        )
    return mnist.configuration(NETWORK, kind, seed=seed, epochs=epochs)


def jobs(folder: Path, *, seeds: int, epochs: int | None = None) -> list[runs.Job]:
    """Every run that the study needs, in the folders of :func:`nsm.studies.mnist.jobs`: network and twin with
    dropout for each seed, as many twins as an ensemble has members for each, and one of each kind without
    the images that temperatures are fitted to.
    """
    needed = [("bnsm", seed) for seed in range(seeds)] + [("twin-dropout", seed) for seed in range(seeds)]
    needed += [("twin", seed) for seed in range(MEMBERS + seeds - 1)]
    name = str(epochs or "recipe")
    found = [
        runs.Job(
            kind,
            configuration(kind, seed=seed, epochs=epochs),
            folder / f"{NETWORK}-{kind}-{seed}" / name,
        )
        for kind, seed in needed
    ]
    for kind in ("bnsm", "twin-dropout", "twin"):
        config = with_overrides(
            configuration(kind, seed=_SEED, epochs=epochs), [f"validation={_HELD_OUT_IMAGES}"]
        )
        found.append(
            runs.Job(kind + _HELD_OUT, config, folder / f"{NETWORK}-{kind}-{_SEED}" / (name + _HELD_OUT))
        )
    return found


def missing(wanted: Sequence[runs.Job]) -> list[runs.Job]:
    """The jobs that are not trained yet."""
    return [job for job in wanted if not (job.folder / WEIGHTS_FILE).is_file()]


def score(job: runs.Job, net: models.Network, splits: Splits) -> Mapping[str, Any]:
    """As in the published comparison; networks that temperatures are fitted with never see the test set."""
    return {} if job.label.endswith(_HELD_OUT) else mnist.score(job, net, splits)


@dataclass(frozen=True)
class Method:
    """One way to a prediction.

    Attributes:
        name: what it is called.
        net: the network that is sampled.
        arguments: of :func:`nsm.predict`.
        temperature: fitted to images held out from a network of the same recipe; None where there is none.
    """

    name: str
    net: nn.Module
    arguments: Mapping[str, Any]
    temperature: float | None = None

    def predict(self, images: ImageSet) -> tuple[Prediction, float]:
        """Predictions of all images, and milliseconds for each."""
        parts, seconds = [], 0.0
        for places in torch.split(torch.arange(len(images)), _BATCH):
            pixels, _ = images.batch(places)
            started = time.perf_counter()
            parts.append(predict(self.net, pixels, seed=_SEED, inputs=places, **self.arguments))
            seconds += time.perf_counter() - started
        return joined(parts, parts[0].probabilities.device), 1000.0 * seconds / len(images)


class Trained(NamedTuple):
    """The networks of one seed.

    Attributes:
        nsm: Neural Sampling Machine.
        dropout: twin with dropout.
        twins: the ensemble's members; the first is the deterministic network.
    """

    nsm: nn.Module
    dropout: nn.Module
    twins: Sequence[nn.Sequential]


def trained(wanted: Sequence[runs.Job], seed: int) -> Trained:
    """Load the networks of one seed from their run folders; the ensemble has its twin and the next seeds'."""
    twins = [_load(wanted, "twin", seed + number) for number in range(MEMBERS)]
    return Trained(_load(wanted, "bnsm", seed), _load(wanted, "twin-dropout", seed), twins)


def _load(wanted: Sequence[runs.Job], label: str, seed: int) -> models.Network:
    (folder,) = [job.folder for job in wanted if (job.label, job.config.training.seed) == (label, seed)]
    return models.load(folder).eval()


def temperatures(wanted: Sequence[runs.Job], root: Path | None) -> dict[str, float]:
    """The temperature of each method that always takes the same samples of one network, by name.

    Fitted to images that a network of its kind and recipe did not learn. An ensemble would need five more.
    """
    splits = data.load(wanted[0].config.data.set, root, validation=_HELD_OUT_IMAGES)
    nsm, dropout, twin = (_load(wanted, kind + _HELD_OUT, _SEED) for kind in ("bnsm", "twin-dropout", "twin"))
    compared = methods(Trained(nsm, dropout, [twin]), splits.train, MarginNoise(), {})
    return {
        method.name: fit_temperature(
            method.predict(splits.validation)[0].probabilities, splits.validation.targets
        )
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
    until = {"confidence": CONFIDENCE, "max_samples": MAX_SAMPLES, "noise": noise}
    compared: list[tuple[str, nn.Module, Mapping[str, Any]]] = [
        (f"NSM, {FIXED} samples", nets.nsm, fixed),
        ("NSM, until settled", nets.nsm, until),
        ("deterministic", nets.twins[0], {"samples": 1}),
        (f"MC dropout, {FIXED} samples", rivals.mc_dropout(nets.dropout), fixed),
        (f"ensemble of {MEMBERS}", rivals.Ensemble(nets.twins), {"samples": MEMBERS}),
        (f"last-layer Laplace, {FIXED} samples", laplace, fixed),
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
        images: images of each shifted set, and those that are compared with 10,000 samples.
        root: data folder, see :func:`nsm.data.load`.
        progress: called with the number of sets measured and of all.
    """
    splits = data.load(wanted[0].config.data.set, root, validation=0)
    some = splits.test.subset(torch.arange(min(images, len(splits.test))))
    size = (some.images.shape[2], some.images.shape[3])
    strange = list(shifts.unknown(len(some), size, root))
    changed = list(shifts.known(some))
    settling = [("MNIST", splits.test, True), ("rotated MNIST", shifts.any_angle(some), True)]
    settling += [(one.name, one.images, False) for one in strange]
    fitted = temperatures(wanted, root)
    total, rows = seeds * (2 * len(settling) + len(changed) + len(strange)), list[Row]()
    for seed in range(seeds):
        nets = trained(wanted, seed)
        x, _ = splits.train.batch(torch.arange(_FITTED_TO))
        noise = fit_margin_noise(nets.nsm, x, seed=_FIT_SEED)
        for name, some_images, labelled in settling:
            fixed = Method("fixed", nets.nsm, {"samples": FIXED}).predict(some_images)
            leading = reference(nets.nsm, some_images, images)
            for law, value in (("default", MarginNoise()), ("fitted", noise)):
                row = settled(nets.nsm, some_images, fixed, leading, value, labelled=labelled)
                rows.append({"claim": "samples", "seed": seed, "set": name, "law": law, **row})
                progress(len({_measured(row) for row in rows}), total)
                yield rows
        compared = methods(nets, splits.train, noise, fitted)
        known = {method.name: method.predict(some)[0] for method in compared}
        for shift in (*changed, *strange):
            rows += [_under_shift(seed, method, shift, known[method.name], some) for method in compared]
            progress(len({_measured(row) for row in rows}), total)
            yield rows


def _measured(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(key) for key in ("claim", "seed", "set", "law", "name", "strength"))


def reference(net: nn.Module, images: ImageSet, count: int) -> torch.Tensor:
    """The leading class of 10,000 samples for the first ``count`` images, drawn from streams of their own.

    An image whose leading class is beyond doubt after 100 or 1,000 of them is not sampled further.
    """
    pixels, _ = images.batch(torch.arange(min(count, len(images))))
    leading = torch.zeros(len(pixels), dtype=torch.int64)
    doubtful = torch.arange(len(pixels))
    for samples in _REFERENCE:
        if len(doubtful) == 0:
            break
        still = []
        for places in torch.split(doubtful, _BATCH):
            said = predict(
                net, pixels[places], samples=samples, seed=_REFERENCE_SEED, inputs=places, votes=True
            )
            leading[places], sure = _leader(said)
            still.append(places[~sure])
        doubtful = torch.cat(still)
    return leading


def _leader(said: Prediction) -> tuple[torch.Tensor, torch.Tensor]:
    """The leading class of each image, and whether it is so many standard errors ahead of the second."""
    assert said.votes is not None
    two = said.probabilities.topk(2).indices
    samples = said.votes.shape[1]
    pair = said.votes.gather(2, two[:, None].expand(-1, samples, -1)).double()
    lead = pair[..., 0] - pair[..., 1]
    return two[:, 0], lead.mean(1) >= _BEYOND_DOUBT * lead.std(1) / samples**0.5


def settled(
    net: nn.Module,
    images: ImageSet,
    fixed: tuple[Prediction, float],
    leading: torch.Tensor,
    noise: MarginNoise,
    *,
    labelled: bool,
) -> dict[str, Any]:
    """Sampling until settled beside a fixed number of samples and the answer of 10,000."""
    arguments = {"confidence": CONFIDENCE, "max_samples": MAX_SAMPLES, "noise": noise}
    found, milliseconds = Method("until settled", net, arguments).predict(images)
    before, fixed_milliseconds = fixed
    assert found.reasons is not None
    used, sure = found.samples_used.double(), found.reasons == Reason.SETTLED
    decided, n = found.probabilities.argmax(1), len(leading)
    differs = decided[:n] != leading
    row: dict[str, Any] = {
        "n": len(images),
        "scale": noise.scale,
        "dof": noise.dof,
        "mean_samples": float(used.mean()),
        "median_samples": float(used.median()),
        "p99_samples": float(used.quantile(0.99)),
        "settled_percent": 100.0 * float(sure.double().mean()),
        "compared": n,
        "disagree_percent": 100.0 * float(differs.double().mean()),
        "settled_disagree_percent": 100.0 * float((differs & sure[:n]).double().mean()),
        "fixed_disagree_percent": 100.0
        * float((before.probabilities.argmax(1)[:n] != leading).double().mean()),
        "milliseconds": milliseconds,
        "fixed_milliseconds": fixed_milliseconds,
    }
    if labelled:
        row["error_percent"] = 100.0 * float((decided != images.targets).double().mean())
        row["fixed_error_percent"] = 100.0 * float(
            (before.probabilities.argmax(1) != images.targets).double().mean()
        )
    return row


def _under_shift(
    seed: int, method: Method, shift: shifts.Shifted, known: Prediction, images: ImageSet
) -> dict[str, Any]:
    """How good a method's predictions are, and whether their uncertainty tells unknown images from known."""
    said, milliseconds = method.predict(shift.images)
    used = float(said.samples_used.double().mean())
    spent = cost(method.net, images.batch(torch.arange(1))[0], max(1, round(used)))
    row: dict[str, Any] = {
        "claim": "shift",
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
