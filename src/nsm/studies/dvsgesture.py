"""The published comparison on DVS Gestures [N19], on recordings or on simulated ones: windows of 96 ms, and
the vote of a gesture's windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from nsm import data, evaluate
from nsm.data import Splits
from nsm.data import events as ev
from nsm.data.simulated import gestures
from nsm.data.simulated.gestures import Trial
from nsm.data.sources import EventSource
from nsm.models import Network
from nsm.studies import results, runs
from nsm.studies.gesture_picture import draw, examples
from nsm.studies.kinds import Kind
from nsm.studies.results import Row
from nsm.training import Config, load_recipe, with_overrides

STUDY = "dvsgesture"
NETWORK = "dvsgesture-allconv"
SETS = ("dvsgesture", "dvsgesture-precut", "dvsgesture-simulated")
SAMPLES = 10
_SEED = 0

KINDS: Mapping[str, Kind] = {
    "bnsm": Kind("NSM, Bernoulli noise", ("model=nsm", "noise=bernoulli:0.5"), 8.56),
    "gnsm": Kind("NSM, Gaussian noise", ("model=nsm", "noise=gaussian:1.0"), 8.83),
    "twin": Kind("conventional twin (ReLU, batch norm)", ("model=twin-bn",), 9.16),
}


class Plan(NamedTuple):
    """What is learnt, and from where.

    Attributes:
        runs: folder of the runs.
        set: of :data:`SETS`.
        root: data folder, see :func:`nsm.data.load`.
        samples: Monte Carlo samples of a test window.
        epochs: None for the recipe's.
        kinds: of :data:`KINDS`.
        trials: what is simulated where it is missing; None for the whole set.
        images: training windows that are learnt; None for all.
    """

    runs: Path
    set: str
    root: Path | None
    samples: int = SAMPLES
    epochs: int | None = None
    kinds: Sequence[str] = tuple(KINDS)
    trials: Sequence[Trial] | None = None
    images: int | None = None


def quick(runs: Path) -> Plan:
    """Two simulated recordings in a data folder of their own, one epoch of 64 windows: does it all work?"""
    folder = runs / "quick"
    return Plan(folder, SETS[-1], folder / "data", 2, 1, ("bnsm", "twin"), gestures.small_trials(), 64)


def prepare(plan: Plan, *, processes: int, progress: Callable[[int, int], object]) -> None:
    """Simulate what the plan learns if it is simulated and not there.

    Args:
        plan: what is learnt.
        processes: recordings that are made at a time.
        progress: called with the number of recordings done and of all.
    """
    if plan.set != SETS[-1] or data.is_present(plan.set, plan.root):
        return
    folder = data.data_root(plan.root) / gestures.FOLDER
    chosen = plan.trials or gestures.trials()
    gestures.write_gestures(folder, chosen, seed=_SEED, processes=processes, progress=progress)


def picture(plan: Plan) -> bytes:
    """Gestures of each class from the training part, as PNG."""
    source = data.describe(plan.set).source
    assert isinstance(source, EventSource)
    read = ev.dvs_gesture if source.layout == "dvsgesture" else ev.dvs_gesture_precut
    return draw(examples(read("train", plan.root, folder=source.folder)))


def chosen_set(name: str | None, root: Path | None) -> str:
    """The set to learn: the one asked for, else recordings that are in the data folder, else simulated ones.

    Raises:
        ValueError: for another set.
    """
    if name is None:
        return next((known for known in SETS if data.is_present(known, root)), SETS[-1])
    if name not in SETS:
        raise ValueError(f"set must be one of {', '.join(SETS)}, got {name!r}")
    return name


def configuration(
    kind: str, *, name: str, seed: int, epochs: int | None = None, images: int | None = None
) -> Config:
    """One run: the network's recipe with this kind of neuron, on all training users, or on so many of their
    windows.

    Raises:
        ValueError: if kind, seed, epochs or images is unknown or impossible.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    overrides = [*KINDS[kind].overrides, f"data.set={name}", f"training.seed={seed}", "validation=0"]
    if epochs is not None:
        overrides.append(f"epochs={epochs}")
    if images is not None:
        overrides.append(f"images={images}")
    return with_overrides(load_recipe(NETWORK), overrides)


def jobs(
    folder: Path,
    *,
    name: str,
    kinds: Sequence[str] | None = None,
    seeds: int = 1,
    epochs: int | None = None,
    images: int | None = None,
) -> list[runs.Job]:
    """Every run of the comparison, seed by seed.

    Args:
        folder: where the run folders lie, one for each set, kind and seed.
        name: of :data:`SETS`.
        kinds: of :data:`KINDS`; None for all.
        seeds: seeds 0 .. seeds - 1.
        epochs: None for the recipe's.
        images: training windows that are learnt; None for all.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    return [
        runs.Job(
            kind,
            configuration(kind, name=name, seed=seed, epochs=epochs, images=images),
            folder / f"{name}-{kind}-{seed}" / str(epochs or "recipe"),
        )
        for seed in range(seeds)
        for kind in kinds or KINDS
    ]


def scoring(plan: Plan) -> runs.Scoring:
    """:func:`score` as planned."""
    return runs.Scoring(partial(score, root=plan.root, samples=plan.samples), {"samples": plan.samples})


def score(job: runs.Job, net: Network, splits: Splits, *, root: Path | None, samples: int) -> dict[str, Any]:
    """Errors of single windows and of gestures on the test users, likelihood and calibration of windows."""
    name = job.config.data.set
    windows = data.event_images(name, "test", root)
    assert torch.equal(windows.images.targets, splits.test.targets), "windows in the order of the test set"
    found = evaluate(net, splits.test, samples=samples, seed=_SEED)
    votes = gesture_votes(found.prediction.probabilities, splits.test.targets, windows.recordings)
    return {
        "set": name,
        "train_windows": len(splits.train),
        **found.to_dict(),
        "gestures": votes.gestures,
        "gesture_error_percent": votes.averaged,
        "majority_error_percent": votes.majority,
    }


class Votes(NamedTuple):
    """Errors of whole gestures, in percent.

    Attributes:
        gestures: their number.
        averaged: by the windows' mean probability.
        majority: by the class that most windows name; of equals, the one of the larger mean probability.
    """

    gestures: int
    averaged: float
    majority: float


def gesture_votes(probabilities: Tensor, targets: Tensor, recordings: Tensor) -> Votes:
    """How often the windows of a gesture are wrong together.

    Args:
        probabilities: of the classes for each window, float (N, C).
        targets: class of each window, int64 (N,).
        recordings: which gesture each window is of, int64 (N,).
    """
    members = torch.unique(recordings, return_inverse=True)[1]
    count, classes = int(members.max()) + 1, probabilities.shape[1]
    sizes = members.bincount()[:, None]

    def averaged(scores: Tensor) -> Tensor:
        sums = torch.zeros(count, classes, dtype=torch.float64)
        return sums.index_add_(0, members, scores.double()).div_(sizes)

    mean = averaged(probabilities)
    named = averaged(one_hot(probabilities.argmax(1), classes))
    truth = torch.empty(count, dtype=torch.int64).scatter_(0, members, targets)

    def error(scores: Tensor) -> float:
        return 100.0 * float((scores.argmax(1) != truth).double().mean())

    # Less than a window's vote, the mean decides between equal numbers of them alone.
    return Votes(count, error(mean), error(named + 0.5 * mean / sizes))


def table(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Means over seeds of the errors for each set and kind, with the published error of windows."""
    rows = list(rows)
    by = ["set", "model", "epochs", "train_windows", "samples"]
    windows = results.summarize(rows, by, "error_percent")
    voted = results.summarize(rows, by, "gesture_error_percent")
    majority = results.summarize(rows, by, "majority_error_percent")
    order = list(KINDS)
    for row, gesture, counted in zip(windows, voted, majority, strict=True):
        row["gesture_mean"], row["gesture_spread"] = gesture["mean"], gesture["spread"]
        row["majority_mean"] = counted["mean"]
        row["title"], row["published"] = KINDS[row["model"]].title, KINDS[row["model"]].published
    return sorted(windows, key=lambda row: (row["set"], order.index(row["model"])))
