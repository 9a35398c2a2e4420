"""What confidence costs and is worth: as many samples as needed against a fixed number, and uncertainty under
shift beside the methods that are usually taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import torch
from torch import nn

from nsm import data, measures, models, predict, rivals
from nsm.data import ImageSet
from nsm.inference import MarginNoise, Prediction, Reason, fit_margin_noise
from nsm.inference.prediction import joined
from nsm.models.files import WEIGHTS_FILE
from nsm.report.shifts import ShiftCurve
from nsm.studies import mnist, runs, shifts
from nsm.studies.cost import cost
from nsm.studies.results import Row
from nsm.training import Config, with_overrides

STUDY = "confidence"
NETWORK = "mnist-cnn"
MEMBERS = 5
FIXED, CONFIDENCE, MAX_SAMPLES = 100, 0.99, 1000
_REFERENCE = 10_000
# Scores so many standard errors from a tie at 100 samples are the same at 10,000.
_BEYOND_DOUBT = 6.0
_SEED, _REFERENCE_SEED, _FIT_SEED = 0, 1, 2
_FITTED_TO = 500
_LEARNED = 10_000
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
    dropout for each seed, and as many twins as an ensemble has members for each.
    """
    needed = [("bnsm", seed) for seed in range(seeds)] + [("twin-dropout", seed) for seed in range(seeds)]
    needed += [("twin", seed) for seed in range(MEMBERS + seeds - 1)]
    return [
        runs.Job(
            kind,
            configuration(kind, seed=seed, epochs=epochs),
            folder / f"{NETWORK}-{kind}-{seed}" / str(epochs or "recipe"),
        )
        for kind, seed in needed
    ]


def missing(wanted: Sequence[runs.Job]) -> list[runs.Job]:
    """The jobs that are not trained yet."""
    return [job for job in wanted if not (job.folder / WEIGHTS_FILE).is_file()]


@dataclass(frozen=True)
class Method:
    """One way to a prediction.

    Attributes:
        name: what it is called.
        net: the network that is sampled.
        arguments: of :func:`nsm.predict`.
    """

    name: str
    net: nn.Module
    arguments: Mapping[str, Any]

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
        seed: their seed; the ensemble has this and the next seeds.
        nsm: Neural Sampling Machine.
        dropout: twin with dropout.
        twins: the ensemble's members; the first is the deterministic network.
    """

    seed: int
    nsm: nn.Module
    dropout: nn.Module
    twins: Sequence[nn.Sequential]


def trained(wanted: Sequence[runs.Job], seed: int) -> Trained:
    """Load the networks of one seed from their run folders."""
    folders = {(job.label, job.config.training.seed): job.folder for job in wanted}

    def load(kind: str, number: int) -> models.Network:
        return models.load(folders[kind, number]).eval()

    twins = [load("twin", seed + number) for number in range(MEMBERS)]
    return Trained(seed, load("bnsm", seed), load("twin-dropout", seed), twins)


def methods(nets: Trained, learned: ImageSet, noise: MarginNoise) -> list[Method]:
    """The Neural Sampling Machine and its rivals; ``learned`` are training images."""
    fixed = {"samples": FIXED}
    x, _ = learned.batch(torch.arange(min(_LEARNED, len(learned))))
    laplace = rivals.last_layer_laplace(nets.twins[0], x, precision=_PRECISION)
    until = {"confidence": CONFIDENCE, "max_samples": MAX_SAMPLES, "noise": noise}
    return [
        Method(f"NSM, {FIXED} samples", nets.nsm, fixed),
        Method("NSM, until settled", nets.nsm, until),
        Method("deterministic", nets.twins[0], {"samples": 1}),
        Method(f"MC dropout, {FIXED} samples", rivals.mc_dropout(nets.dropout), fixed),
        Method(f"ensemble of {MEMBERS}", rivals.Ensemble(nets.twins), {"samples": MEMBERS}),
        Method(f"last-layer Laplace, {FIXED} samples", laplace, fixed),
    ]


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
        compared = methods(nets, splits.train, noise)
        known = {method.name: method.predict(some)[0] for method in compared}
        for shift in (*changed, *strange):
            rows += [_under_shift(seed, method, shift, known[method.name], some) for method in compared]
            progress(len({_measured(row) for row in rows}), total)
            yield rows


def _measured(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(key) for key in ("claim", "seed", "set", "law", "name", "strength"))


def reference(net: nn.Module, images: ImageSet, count: int) -> torch.Tensor:
    """The leading class of 10,000 samples for the first ``count`` images, drawn from streams of their own.

    An image whose leading class is beyond doubt after 100 of them is not sampled further.
    """
    leading = []
    for places in torch.split(torch.arange(min(count, len(images))), _BATCH):
        pixels, _ = images.batch(places)
        first = predict(net, pixels, samples=FIXED, seed=_REFERENCE_SEED, inputs=places, votes=True)
        assert first.votes is not None
        two = first.probabilities.topk(2).indices
        pair = first.votes.double().gather(2, two[:, None].expand(-1, FIXED, -1))
        lead = pair[..., 0] - pair[..., 1]
        doubtful = lead.mean(1) < _BEYOND_DOUBT * lead.std(1) / FIXED**0.5
        chosen = two[:, 0].clone()
        if doubtful.any():
            again = predict(
                net, pixels[doubtful], samples=_REFERENCE, seed=_REFERENCE_SEED, inputs=places[doubtful]
            )
            chosen[doubtful] = again.probabilities.argmax(1)
        leading.append(chosen)
    return torch.cat(leading)


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
        scores = {
            "nll": measures.CategoricalNLL(),
            "ece": measures.CalibrationError(),
            "aurc": measures.AURC(),
        }
        for measure in scores.values():
            measure.update(said.probabilities, shift.images.targets)
        wrong = said.probabilities.argmax(1) != shift.images.targets
        row["error_percent"] = 100.0 * float(wrong.double().mean())
        return row | {name: float(measure.compute()) for name, measure in scores.items()}
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


def sample_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Samples needed and promise kept, means over seeds."""
    headings = ["images", "law of the noise", "seeds", "mean samples", "median", "settled, %", "differs, %"]
    headings += ["settled and differs, %", "error, %", "error with 100, %", "ms", "ms with 100"]
    cells = []
    for (name, law), group in _groups(rows, "samples", "set", "law"):
        keys: tuple[str, ...] = ("mean_samples", "median_samples", "settled_percent", "disagree_percent")
        keys += ("settled_disagree_percent", "error_percent", "fixed_error_percent", "milliseconds")
        shown = [_shown(group, key, 2) for key in (*keys, "fixed_milliseconds")]
        cells.append([name, law, str(len(group)), *shown])
    return headings, cells


def shift_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Known images by kind of shift, means over strengths and seeds."""
    headings = ["shift", "method", "error, %", "NLL", "ECE", "AURC", "samples"]
    cells = [
        [name, method, *(_shown(group, key, digits) for key, digits in _SHIFT_COLUMNS)]
        for (name, method), group in _groups(rows, "shift", "name", "method")
        if "nll" in group[0]
    ]
    return headings, cells


_SHIFT_COLUMNS = (("error_percent", 2), ("nll", 4), ("ece", 4), ("aurc", 4), ("samples", 1))


def unknown_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Unknown images against known ones, means over seeds, with the cost of a decision."""
    headings = ["images", "method", "AUROC, entropy", "AUROC, mutual information", "FPR95, entropy"]
    headings += ["samples", "million products", "thousand random bits", "ms"]
    cells = []
    for (name, method), group in _groups(rows, "shift", "name", "method"):
        if "auroc_entropy" in group[0]:
            keys = ("auroc_entropy", "auroc_mutual_information", "fpr95_entropy")
            costs = [
                f"{mean(row['products'] for row in group) / 1e6:.1f}",
                f"{mean(row['random_bits'] for row in group) / 1e3:.0f}",
            ]
            figures = [_shown(group, key, 4) for key in keys]
            cells.append(
                [
                    name,
                    method,
                    *figures,
                    _shown(group, "samples", 1),
                    *costs,
                    _shown(group, "milliseconds", 2),
                ]
            )
    return headings, cells


def _groups(rows: Sequence[Row], claim: str, *by: str) -> Iterator[tuple[tuple[str, ...], list[Row]]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row["claim"] == claim:
            groups.setdefault(tuple(str(row[key]) for key in by), []).append(row)
    yield from groups.items()


def _shown(rows: Sequence[Row], key: str, digits: int) -> str:
    return f"{mean(row[key] for row in rows):.{digits}f}" if all(key in row for row in rows) else ""


def curves(rows: Sequence[Row]) -> dict[str, dict[str, ShiftCurve]]:
    """Error, likelihood and calibration of each method against the angle of rotation, means over seeds."""
    panels = {"Error (%)": "error_percent", "NLL (nats)": "nll", "ECE": "ece"}
    found: dict[str, dict[str, ShiftCurve]] = {title: {} for title in panels}
    for (name, method), group in _groups(rows, "shift", "name", "method"):
        if name == "rotation":
            for title, key in panels.items():
                angles = sorted({row["strength"] for row in group})
                values = [mean(row[key] for row in group if row["strength"] == angle) for angle in angles]
                found[title][method] = ShiftCurve(angles, values)
    return found
