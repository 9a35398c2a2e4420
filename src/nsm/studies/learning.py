"""What helps a Neural Sampling Machine learn: one change at a time, judged on validation images.

The test set has no part in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nsm import evaluate, fidelity
from nsm.data import Splits
from nsm.models import Network
from nsm.nn import is_stochastic
from nsm.studies import mnist, runs
from nsm.studies.signals import signals
from nsm.training import fresh_network, load_recipe, with_overrides

STUDY = "learning"
NETWORK = "mnist-cnn"
VALIDATION = 10_000
SAMPLES = 5
_SIGNAL_IMAGES = 200

# What each variant changes of the recipe.
_TWIN = mnist.KINDS["twin"].overrides
VARIANTS: Mapping[str, tuple[str, ...]] = {
    "recipe": (),
    "average pooling": ("pooling=average",),
    "gains and biases as released": ("spread=none",),
    "binarized input": ("binarize=true",),
    "gains learn five times as fast": ("gain_lr=5",),
    "half the learning rate": ("lr=1e-3",),
    "two draws, averaged prediction": ("draws=2",),
    "straight-through gradient": ("model=ste",),
    "learnt as marginals": ("marginals=1.0",),
    "no shifts": ("shift=0",),
    "twin": _TWIN,
    "twin, average pooling": (*_TWIN, "pooling=average"),
    "twin, binarized input": (*_TWIN, "binarize=true"),
    "twin, no shifts": (*_TWIN, "shift=0"),
}


def jobs(folder: Path, *, epochs: int) -> list[runs.Job]:
    """One run for each variant, of ``epochs`` epochs, on all but 10,000 training images."""
    base = with_overrides(load_recipe(NETWORK), [f"epochs={epochs}", f"validation={VALIDATION}"])
    return [
        runs.Job(name, with_overrides(base, changes), folder / f"{name.replace(' ', '-')}-{epochs}")
        for name, changes in VARIANTS.items()
    ]


def score(job: runs.Job, net: Network, splits: Splits) -> dict[str, Any]:
    """Validation errors of samples, of one sample, of the means and of the noiseless signs; signal and noise
    of every layer before and after training.
    """
    images = splits.validation
    scores = evaluate(net, images, samples=SAMPLES)
    row: dict[str, Any] = scores.to_dict()
    if not is_stochastic(net):
        return row
    row["one_sample_error_percent"] = scores.curve[0].error_percent
    for mode in ("mean", "threshold"):
        with fidelity(mode):
            row[f"{mode}_error_percent"] = evaluate(net, images, samples=1).error_percent
    batch = images.batch(torch.arange(_SIGNAL_IMAGES))
    start = fresh_network(job.config, splits.train)
    for when, state in (("start", start), ("end", net)):
        for layer in signals(state, *batch):
            row |= {f"{when}_{name}_{layer.layer}": value for name, value in layer._asdict().items()}
    return row
