"""As many samples as needed: what they are against a fixed number, and whether the promise is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nsm import data, models, predict
from nsm.data import ImageSet
from nsm.inference import MarginNoise, Prediction, Reason
from nsm.studies import mnist, runs, shifts
from nsm.studies.means import grouped, shown
from nsm.studies.method import FIXED, UNTIL_SETTLED, Method, fitted_noise
from nsm.studies.results import Row

STUDY = "settling"
NETWORK = "mnist-cnn"
KINDS = ("bnsm", "bnsm-population")
_REFERENCE = (100, 1_000, 10_000)
# Scores so many standard errors from a tie are on the same side of it with more samples.
_BEYOND_DOUBT = 6.0
_REFERENCE_SEED = 1
_BATCH = 250


def jobs(folder: Path, *, kind: str, seeds: int, epochs: int | None = None) -> list[runs.Job]:
    """The Neural Sampling Machine of each seed, in the folders of :func:`nsm.studies.mnist.jobs`.

    Args:
        folder: where the run folders lie.
        kind: of :data:`KINDS`.
        seeds: seeds 0 .. seeds - 1.
        epochs: None for the recipe's.

    Raises:
        ValueError: if the kind is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    return mnist.jobs(folder, networks=[NETWORK], kinds=[kind], seeds=seeds, epochs=epochs)


def run(
    wanted: Sequence[runs.Job], *, images: int, root: Path | None, progress: Callable[[int, int], object]
) -> Iterator[list[Row]]:
    """All rows known so far, after every measured set.

    Args:
        wanted: jobs that are trained, from :func:`jobs`.
        images: images of each shifted set, and those that are compared with 10,000 samples.
        root: data folder, see :func:`nsm.data.load`.
        progress: called with the number of rows measured and of all.
    """
    splits = data.load(wanted[0].config.data.set, root, validation=0)
    some = splits.test.subset(torch.arange(min(images, len(splits.test))))
    sets = [("MNIST", splits.test, True), ("rotated MNIST", shifts.any_angle(some), True)]
    sets += [(one.name, one.images, False) for one in shifts.unknown(some, len(some), root)]
    rows = list[Row]()
    for job in wanted:
        net = models.load(job.folder).eval()
        laws = {"default": MarginNoise(), "fitted": fitted_noise(net, splits.train)}
        for name, asked, labelled in sets:
            fixed = Method("fixed", net, {"samples": FIXED}).predict(asked)
            leading = reference(net, asked, images)
            for law, noise in laws.items():
                row = settled(net, asked, fixed, leading, noise, labelled=labelled)
                rows.append({"seed": job.config.training.seed, "set": name, "law": law, **row})
                progress(len(rows), len(wanted) * len(sets) * len(laws))
                yield rows


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
    found, milliseconds = Method("until settled", net, {**UNTIL_SETTLED, "noise": noise}).predict(images)
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


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Samples needed and promise kept, means over seeds."""
    headings = ["images", "law of the noise", "seeds", "mean samples", "median", "settled, %", "differs, %"]
    headings += ["settled and differs, %", "error, %", "error with 100, %", "ms", "ms with 100"]
    cells = []
    for (name, law), group in grouped(rows, "set", "law"):
        keys: tuple[str, ...] = ("mean_samples", "median_samples", "settled_percent", "disagree_percent")
        keys += ("settled_disagree_percent", "error_percent", "fixed_error_percent", "milliseconds")
        values = [shown(group, key, 2) for key in (*keys, "fixed_milliseconds")]
        cells.append([name, law, str(len(group)), *values])
    return headings, cells
