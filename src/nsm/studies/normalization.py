"""Self-normalization [N19]: preactivations in the first steps, weights over many epochs, changed weights.

A Neural Sampling Machine beside the same network with noise that does not follow the weights (StNN), and
beside rectifiers with batch normalization, weight normalization and none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch

from nsm import evaluate
from nsm.data import Splits
from nsm.files import write_atomically
from nsm.models import Network
from nsm.studies import runs
from nsm.studies.inside import beginning, weight_percentiles
from nsm.studies.kinds import Kind
from nsm.studies.results import Row
from nsm.studies.robustness import changed_weights
from nsm.training import fresh_network, load_recipe, with_overrides

STUDY = "normalization"
NETWORK = "mnist-mlp"
WEIGHTS_FILE = "weights.json"
_SEED = 0

KINDS: Mapping[str, Kind] = {
    "bnsm": Kind("NSM, Bernoulli noise", ("model=nsm", "noise=bernoulli:0.5")),
    "stnn": Kind("additive noise (StNN)", ("model=stnn", "noise=bernoulli:0.5")),
    "twin-bn": Kind("rectifiers, batch norm", ("model=twin-bn",)),
    "twin-wn": Kind("rectifiers, weight norm", ("model=twin-wn",)),
    "twin": Kind("rectifiers", ("model=twin",)),
}


class Size(NamedTuple):
    """How much is learnt and looked at.

    Attributes:
        epochs: of each run.
        images: training images that are learnt.
        validation: training images that are held out, on which everything is judged.
        steps: first steps in which preactivations are looked at,
        every: so many steps apart,
        looked: on so many held-out images.
        samples: Monte Carlo samples of a judged image.
        repeats: changes of weights of each size.
    """

    epochs: int = 100
    images: int = 10_000
    validation: int = 5000
    steps: int = 200
    every: int = 5
    looked: int = 500
    samples: int = 20
    repeats: int = 3


QUICK = Size(epochs=2, images=600, validation=300, steps=10, looked=100, samples=2, repeats=1)


def jobs(folder: Path, size: Size) -> list[runs.Job]:
    """One run for each kind: the recipe at a constant learning rate, weights averaged over an epoch or so."""
    overrides = [
        "schedule=constant",
        f"epochs={size.epochs}",
        f"images={size.images}",
        f"validation={size.validation}",
        "averaging=0.99",
        "eval_samples=2",
    ]
    base = with_overrides(load_recipe(NETWORK), overrides)
    return [
        runs.Job(
            name,
            with_overrides(base, kind.overrides),
            folder / f"{name}-{size.images}" / str(size.epochs),
            watch_weights,
        )
        for name, kind in KINDS.items()
    ]


def watch_weights(folder: Path, epoch: int, net: Network) -> None:
    """Keep percentiles of the weights after an epoch in the run folder."""
    path = folder / WEIGHTS_FILE
    known = json.loads(path.read_text()) if path.exists() else {}
    known[str(epoch)] = weight_percentiles(net)
    write_atomically(path, json.dumps(known).encode())


def score(job: runs.Job, net: Network, splits: Splits, *, size: Size) -> dict[str, Any]:
    """Everything that is measured of one kind, on held-out images.

    Returns:
        Scores of the trained network; ``preactivations``, from :func:`nsm.studies.inside.beginning`;
        ``weights``: by layer, lists of percentiles from before the first epoch to after the last one;
        ``changes``: from :func:`nsm.studies.robustness.changed_weights`.
    """
    known = json.loads((job.folder / WEIGHTS_FILE).read_text())
    start = weight_percentiles(fresh_network(job.config, splits.train))
    courses = [start, *(known[str(epoch)] for epoch in range(1, size.epochs + 1))]
    judged = splits.validation
    learnt = splits.train.subset(torch.arange(min(5000, len(splits.train))))
    return {
        **evaluate(net, judged, samples=size.samples, seed=_SEED).to_dict(),
        "learnt": len(splits.train),
        "preactivations": beginning(
            job.config, splits, steps=size.steps, every=size.every, images=size.looked
        ),
        "weights": {f"layer {i + 1}": list(layer) for i, layer in enumerate(zip(*courses, strict=True))},
        "changes": changed_weights(net, learnt, judged, samples=size.samples, repeats=size.repeats),
    }


def scoring(size: Size) -> runs.Scoring:
    """:func:`score` of this size."""
    return runs.Scoring(partial(score, size=size), size._asdict())


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Rows in the order of :data:`KINDS`, whichever finished first."""
    return sorted(rows, key=lambda row: list(KINDS).index(row["model"]))
