"""Simulated recordings as a set of images: what the published network for N-MNIST sees of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from nsm.data.events import EventAugmentation, Events
from nsm.data.events.cache import cached, packed, unpacked
from nsm.data.events.images import framed_copies, packed_copies
from nsm.data.events.representations import NMNIST_FRAMES
from nsm.data.images import ImageSet
from nsm.data.simulated.saccades import NMNIST_LIKE, checked_first, simulate


def as_recordings(images: ImageSet, name: str, folder: Path, *, seed: int = 0, first: int = 0) -> ImageSet:
    """A simulated recording of each image, in 10 binary bins.

    Args:
        images: grey images.
        name: of the new set.
        folder: where the result is kept, see :func:`nsm.data.events.cache.cached`; made at the first call, at
            some three milliseconds a recording.
        seed: seed of the simulation.
        first: number of the first recording, in [0, 2^32 - N].

    Returns:
        uint8 images (N, 10, 34, 34), 255 where a cell saw an event.

    Raises:
        ValueError: if there are no such numbers.
    """
    first = checked_first(first, len(images))
    key = {**_described(images, seed, first), "transform": NMNIST_FRAMES.to_dict()}

    def make() -> NDArray[np.uint8]:
        frames = np.empty((len(images), NMNIST_FRAMES.bins, *NMNIST_FRAMES.shape[1:]), np.uint8)
        for frame, events in zip(frames, _recordings(images, seed, first), strict=True):
            frame[:] = NMNIST_FRAMES(events)[:, 0]
        return frames

    pixels = unpacked(cached(folder, key, lambda: packed(make())))
    return replace(images, images=torch.from_numpy(pixels).mul_(255), name=name)


def copies_of(
    images: ImageSet, changes: EventAugmentation, folder: Path, *, copies: int, seed: int = 0, first: int = 0
) -> Tensor:
    """Changed versions of the recordings of :func:`as_recordings`, in 10 binary bins.

    Args:
        images: grey images.
        changes: of the events, drawn for each recording and copy by seed 0.
        folder: where the result is kept; made at the first call, which simulates the recordings once more.
        copies: K, the number of versions of each recording, >= 1.
        seed: seed of the simulation.
        first: number of the first recording, in [0, 2^32 - N].

    Returns:
        uint8, shape (K, N, bytes of an image), see :class:`nsm.data.ImageSet`.

    Raises:
        ValueError: if there are no such numbers.
    """
    first = checked_first(first, len(images))

    def rows() -> Iterator[NDArray[np.uint8]]:
        for number, events in enumerate(_recordings(images, seed, first), first):
            yield framed_copies(events, NMNIST_FRAMES, changes, number, copies)[:, None]

    return packed_copies(rows, _described(images, seed, first), NMNIST_FRAMES, changes, folder, copies)


def _described(images: ImageSet, seed: int, first: int) -> dict[str, Any]:
    """What the events depend on."""
    digest = hashlib.sha256(images.images.numpy().tobytes()).hexdigest()
    shape = list(images.images.shape)
    return {"data": [digest, shape, seed, first], "simulation": asdict(NMNIST_LIKE)}


def _recordings(images: ImageSet, seed: int, first: int) -> Iterable[Events]:
    """The simulated recording of each image, behind a bar."""
    console = Console(stderr=True)
    return track(
        simulate(images.images, seed=seed, first=first),
        "simulating recordings",
        len(images),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
