"""The page and the picture of the study of N-MNIST, from its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from nsm import evaluate, models
from nsm.data import events as ev
from nsm.report import Asked, Regime, Regimes
from nsm.report.distribution import Answer
from nsm.report.drawing import NSM, TWIN
from nsm.report.words import uncertainty
from nsm.studies import nmnist, nmnist_table
from nsm.studies.origin import origin
from nsm.studies.results import Row
from nsm.studies.runs import Job
from nsm.training import load_splits, read_metrics

_ASKED = 12
_SIDES: Mapping[str, tuple[str, str]] = {"bnsm": ("NSM", NSM), "twin": ("Twin", TWIN)}


def collect(jobs: Sequence[Job], rows: Sequence[Row], size: nmnist.Size, root: Path | None = None) -> Regimes:
    """What the page shows: means over seeds, and recordings as the networks of the first seed see them.

    Args:
        jobs: the runs, from :func:`nsm.studies.nmnist.jobs`; all of them are over.
        rows: their rows.
        size: how much they learnt.
        root: data folder, see :func:`nsm.data.load`.
    """
    table = nmnist_table.table(rows)
    regimes = [
        Regime(
            title,
            {_SIDES[row["model"]][0]: row["recorded"] for row in table if row["regime"] == regime},
            {_SIDES[kind][0]: course for kind in _SIDES if (course := _course(jobs, regime, kind))},
        )
        for regime, title in nmnist.REGIMES.items()
        if any(row["regime"] == regime for row in table)
    ]
    learnt = len(ev.nmnist("train", root))
    return Regimes(
        title="N-MNIST from few recordings",
        lead=(
            f"A Neural Sampling Machine and its conventional twin learn {learnt:,} real recordings of an "
            "event camera, recordings that are simulated from MNIST, or first these and then the real ones."
        ),
        regimes=regimes,
        colours=dict(side for kind, side in _SIDES.items() if any(row["model"] == kind for row in rows)),
        judged=f"{learnt:,} real recordings",
        asked=_asked([job for job in jobs if job.config.training.seed == 0], size.samples["adapted"], root),
        classes=nmnist.CLASSES,
        headings=nmnist_table.HEADINGS,
        cells=nmnist_table.cells(rows),
        texts=2,
        notes=nmnist_table.NOTES,
        origin=origin(),
    )


def _course(jobs: Sequence[Job], regime: str, kind: str) -> list[float]:
    """Error on what is held out after each epoch, mean over folds and seeds; empty where nothing is."""
    folds = [
        [row.validation_error_percent for row in read_metrics(job.folder)]
        for job in _folds(jobs, kind)
        if nmnist.regime_of(job.config) == regime
    ]
    return [fmean(error for error in errors if error is not None) for errors in zip(*folds, strict=True)]


def _folds(jobs: Sequence[Job], kind: str) -> list[Job]:
    return [job for job in jobs if job.label == kind and job.config.data.fold is not None]


def _asked(jobs: Sequence[Job], samples: int, root: Path | None) -> list[Asked]:
    """What the networks of the first part say of it, which they were not taught; least sure ones first."""
    held_out = {kind: folds[0] for kind in _SIDES if (folds := _folds(jobs, kind))}
    if not held_out:
        return []
    images = load_splits(next(iter(held_out.values())).config, root).validation
    said = {
        kind: evaluate(models.load(job.folder), images, samples=samples).prediction
        for kind, job in held_out.items()
    }
    first = next(iter(said.values()))
    order = first.entropy.argsort(descending=True, stable=True)[:_ASKED].tolist()
    return [
        Asked(
            images.images[index].numpy(),
            int(images.targets[index]),
            [
                Answer(*_SIDES[kind], prediction.probabilities[index].numpy())
                for kind, prediction in said.items()
            ],
            uncertainty(first, index),
        )
        for index in order
    ]
