"""N-MNIST from few recordings [N19]: learnt alone, and after recordings simulated from MNIST.

A network and its twin learn the real recordings in the data folder's training set (``alone``), recordings
simulated from MNIST's training images (``simulated``), or first these and then the real ones (``adapted``).
Images whose real recordings are there are not simulated: what was learnt of simulated recordings says nothing
of real ones that are held out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from nsm import data, evaluate
from nsm.data import Splits
from nsm.data import events as ev
from nsm.models import Network
from nsm.models.files import WEIGHTS_FILE
from nsm.studies import runs
from nsm.studies.memory import peak_mib
from nsm.training import Config, load_recipe, with_overrides

STUDY = "nmnist"
NETWORK = "nmnist-cnn"
CLASSES = data.describe("nmnist").classes
_SEED = 0

Regime = Literal["simulated", "alone", "adapted"]
REGIMES: Mapping[Regime, str] = {
    "alone": "real recordings",
    "simulated": "simulated recordings",
    "adapted": "simulated, then real",
}
# Epochs in each regime: of 600 recordings an epoch is six steps.
EPOCHS: Mapping[Regime, int] = {"simulated": 30, "alone": 30, "adapted": 4}
SAMPLES: Mapping[Regime, int] = {"simulated": 20, "alone": 100, "adapted": 100}
KINDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "bnsm": ("NSM, Bernoulli noise", ("model=nsm", "noise=bernoulli:0.5")),
    "twin": ("conventional twin (ReLU)", ("model=twin",)),
}


class Size(NamedTuple):
    """How much is learnt.

    Attributes:
        epochs: of each regime.
        simulated: recordings to simulate for training; None for one of each image.
        folds: parts of the cross-validation.
        samples: with which the networks of each regime are scored; those of simulated recordings on ten times
            as many as the others together.
    """

    epochs: Mapping[Regime, int] = EPOCHS
    simulated: int | None = None
    folds: int = 4
    samples: Mapping[Regime, int] = SAMPLES


_ONE: Mapping[Regime, int] = {"simulated": 1, "alone": 1, "adapted": 1}
QUICK = Size(_ONE, simulated=500, folds=2, samples=dict.fromkeys(_ONE, 2))


def sized(*, quick: bool = False, epochs: int | None = None, simulated: int | None = None) -> Size:
    """How much is learnt.

    Args:
        quick: as little as shows that everything runs, instead of what is reported.
        epochs: of every run; None for those of each regime.
        simulated: recordings to simulate for training; None for as many as there are.
    """
    size = QUICK if quick else Size()
    if epochs is not None:
        size = size._replace(epochs=dict.fromkeys(size.epochs, epochs))
    return size if simulated is None else size._replace(simulated=simulated)


def configuration(
    regime: Regime, kind: str, *, seed: int, size: Size, fold: int | None, folder: Path, subset: bool
) -> Config:
    """One run.

    Args:
        regime: what is learnt.
        kind: of :data:`KINDS`.
        seed: of the run.
        size: how much is learnt.
        fold: the part of the real recordings that is held out; None for none.
        folder: where the runs of the study lie.
        subset: whether the real recordings are fewer than MNIST's images.
    """
    overrides = [*KINDS[kind][1], f"training.seed={seed}", f"epochs={size.epochs[regime]}"]
    overrides.append("validation=0" if fold is None else f"fold=[{fold}, {size.folds}]")
    if regime == "simulated":
        overrides += ["set=nmnist-simulated", f"unrecorded={str(subset).lower()}"]
        overrides.append(f"simulated={size.simulated or 'none'}")
    if regime == "adapted":
        overrides.append(f"start={run_folder(folder, 'simulated', kind, seed=seed, size=size)}")
    overrides += _LEARNING[regime]
    return with_overrides(load_recipe(NETWORK), overrides)


# The recipe is made for 60,000 recordings; a few hundred want smaller steps, and more of them in an epoch.
_LEARNING: Mapping[Regime, tuple[str, ...]] = {
    "simulated": (),
    "alone": ("batch_size=25", "lr=1e-3", "averaging=0.99"),
    "adapted": ("batch_size=25", "lr=1e-4", "averaging=0.98"),
}


def regime_of(config: Config) -> Regime:
    """What a run of this study learns."""
    if config.data.set == "nmnist-simulated":
        return "simulated"
    return "alone" if config.training.start is None else "adapted"


def run_folder(
    folder: Path, regime: Regime, kind: str, *, seed: int, size: Size, fold: int | None = None
) -> Path:
    """Where a run lies."""
    part = "all" if fold is None else f"fold{fold}of{size.folds}"
    number = "" if size.simulated is None else f"-{size.simulated}"
    return folder / f"{regime}{number}-{kind}-{seed}" / f"{part}-{size.epochs[regime]}"


def jobs(
    folder: Path,
    *,
    regimes: Sequence[str] = tuple(REGIMES),
    kinds: Sequence[str] = tuple(KINDS),
    seeds: int = 1,
    size: Size | None = None,
    root: Path | None = None,
) -> list[runs.Job]:
    """Every run of the study: the simulated recordings first, then the others, some of which start from them.

    Where the data folder holds the whole of N-MNIST, nothing is adapted: no image is without its recording.

    Args:
        folder: where the run folders lie.
        regimes: of :data:`REGIMES`; what is adapted needs what is simulated as well, where that is missing.
        kinds: of :data:`KINDS`.
        seeds: seeds 0 .. seeds - 1.
        size: how much is learnt; None for :class:`Size`.
        root: data folder, see :func:`nsm.data.load`.

    Raises:
        ValueError: for an unknown regime or kind, or an impossible number of seeds.
        DataError: if there are no real recordings in the data folder.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    for name, asked, known in (("regime", regimes, REGIMES), ("kind", kinds, KINDS)):
        for one in asked:
            if one not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {one!r}")
    chosen = size or Size()
    data.fetch("nmnist", root)
    subset = len(ev.nmnist("train", root)) < data.describe("nmnist").train
    possible: tuple[Regime, ...] = ("adapted", "alone") if subset else ("alone",)
    small = [regime for regime in possible if regime in regimes]

    def job(regime: Regime, kind: str, seed: int, fold: int | None) -> runs.Job:
        config = configuration(regime, kind, seed=seed, size=chosen, fold=fold, folder=folder, subset=subset)
        return runs.Job(kind, config, run_folder(folder, regime, kind, seed=seed, size=chosen, fold=fold))

    pairs = [(seed, kind) for seed in range(seeds) for kind in kinds]
    first = [job("simulated", kind, seed, None) for seed, kind in pairs]
    if "simulated" not in regimes:
        first = [one for one in first if "adapted" in small and not (one.folder / WEIGHTS_FILE).exists()]
    folds = (*range(chosen.folds), None)
    return first + [
        job(regime, kind, seed, fold) for regime in small for seed, kind in pairs for fold in folds
    ]


def scoring(size: Size, root: Path | None) -> runs.Scoring:
    """:func:`score` of this size."""
    return runs.Scoring(partial(score, size=size, root=root), {"samples": size.samples})


def score(job: runs.Job, net: Network, splits: Splits, *, size: Size, root: Path | None) -> dict[str, Any]:
    """Scores on what was held out: a fold, or the test set; of simulated recordings, on the real training
    recordings as well, whose images it has not seen.

    Args:
        job: the run.
        net: what it left.
        splits: its images.
        size: with how many samples.
        root: data folder, see :func:`nsm.data.load`.
    """
    wanted, regime, peak = job.config.data, regime_of(job.config), peak_mib()
    scored = splits.test if wanted.fold is None else splits.validation
    samples = size.samples[regime]
    row: dict[str, Any] = {
        "regime": regime,
        "fold": None if wanted.fold is None else wanted.fold[0],
        "learnt": len(splits.train),
        **evaluate(net, scored, samples=samples, seed=_SEED).to_dict(),
    }
    if regime == "simulated":
        recorded = data.load("nmnist", root, validation=0).train
        row["recorded_n"] = len(recorded)
        row["recorded_error_percent"] = evaluate(net, recorded, samples=samples, seed=_SEED).error_percent
        row["peak_mib"] = peak
    return row
