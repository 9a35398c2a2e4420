"""Streams that nobody recorded, to try a network on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from nsm import data, random
from nsm.data.events import Events
from nsm.data.simulated import NMNIST_LIKE, simulate

_RECORDINGS = 10
_PAUSE = 300_000  # us: the window is empty again before the next one begins


def simulated(name: str, *, seed: int, root: Path | None = None) -> Iterator[Events]:
    """Ten simulated recordings of MNIST's test digits, which the seed chooses, one after another.

    Args:
        name: data set of the network, ``"nmnist"`` or ``"nmnist-simulated"``.
        seed: integer in [0, 2^63).
        root: data folder with MNIST, see :func:`nsm.data.load`.

    Raises:
        ValueError: if there is no simulation for this set.
        DataError: if MNIST is missing and cannot be downloaded.
    """
    if name not in ("nmnist", "nmnist-simulated"):
        raise ValueError(f"streams are simulated for nmnist and nmnist-simulated only, not for {name}")
    images = data.load("mnist", root).test.images
    chosen = random.permutation(random.derive(seed, "stream"), 0, len(images))[:_RECORDINGS]
    return _one_after_another(images[chosen], seed)


def _one_after_another(images: torch.Tensor, seed: int) -> Iterator[Events]:
    for number, events in enumerate(simulate(images, seed=seed)):
        events["t"] += number * (NMNIST_LIKE.duration + _PAUSE)
        yield events
