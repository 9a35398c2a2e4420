"""Simulated recordings as a set of images: what the published network for N-MNIST sees of them."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from nsm.data.events.cache import cached, packed, unpacked
from nsm.data.events.representations import NMNIST_FRAMES
from nsm.data.images import ImageSet
from nsm.data.simulated.saccades import NMNIST_LIKE, simulate


def as_recordings(images: ImageSet, name: str, folder: Path, *, seed: int = 0, first: int = 0) -> ImageSet:
    """A simulated recording of each image, in 10 binary bins.

    Args:
        images: grey images.
        name: of the new set.
        folder: where the result is kept, see :func:`nsm.data.events.cache.cached`; made at the first call, at
            some three milliseconds a recording.
        seed: seed of the simulation.
        first: number of the first recording.

    Returns:
        uint8 images (N, 10, 34, 34), 255 where a cell saw an event.
    """
    digest = hashlib.sha256(images.images.numpy().tobytes()).hexdigest()
    key = {
        "data": [digest, len(images), seed, first],
        "simulation": asdict(NMNIST_LIKE),
        "transform": NMNIST_FRAMES.to_dict(),
    }

    def make() -> NDArray[np.uint8]:
        frames = np.empty((len(images), NMNIST_FRAMES.bins, *NMNIST_FRAMES.shape[1:]), np.uint8)
        console = Console(stderr=True)
        recordings = track(
            simulate(images.images, seed=seed, first=first),
            "simulating recordings",
            len(images),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        for frame, events in zip(frames, recordings, strict=True):
            frame[:] = NMNIST_FRAMES(events)[:, 0]
        return frames

    pixels = unpacked(cached(folder, key, lambda: packed(make())))
    return replace(images, images=torch.from_numpy(pixels).mul_(255), name=name)
