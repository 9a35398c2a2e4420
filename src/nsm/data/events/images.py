"""Sets of recordings as sets of images: a recording's frames are the channels of one image or of several."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nsm.data.errors import DataError
from nsm.data.events.array import Events
from nsm.data.events.augment import EventAugmentation
from nsm.data.events.cache import Arrays, cached, fingerprint, packed, unpacked
from nsm.data.events.recordings import Recordings
from nsm.data.events.representations import TimeFrames
from nsm.data.images import ImageSet


class Framed(NamedTuple):
    """Images made of recordings.

    Attributes:
        images: 0 where a cell saw nothing, 255 where it saw an event.
        recordings: number of each image's recording, int64 (n,).
        groups: number of each image's user, or of its recording where there is no user, int64 (n,): what must
            not be divided between training and validation.
    """

    images: ImageSet
    recordings: Tensor
    groups: Tensor


def as_images(recordings: Recordings, frames: TimeFrames, folder: Path, *, windows: int = 1) -> Framed:
    """Binary frames of recordings as images.

    Args:
        recordings: without a transform.
        frames: binary, of one polarity channel.
        folder: where the result is kept, see :func:`nsm.data.events.cache.cached`.
        windows: images of one recording, each of ``frames.bins / windows`` channels; a window without any
            event is left out.

    Raises:
        DataError: if a recording is damaged, or all windows are empty.
    """
    assert frames.binary, "images hold bytes"
    assert frames.shape[0] == 1, "frames become channels"
    key = {"data": fingerprint(recordings), "transform": frames.to_dict(), "windows": windows}
    arrays = cached(folder, key, lambda: _made(recordings, frames, windows))
    source = torch.from_numpy(arrays["recordings"])
    if not len(source):
        raise DataError(
            f"{recordings.name}: no window of its {len(recordings)} recordings, of which the first is "
            f"{recordings.items[0].path}, holds an event that counts"
        )
    images = ImageSet(
        torch.from_numpy(unpacked(arrays)).mul_(255),
        torch.from_numpy(recordings.targets)[source],
        recordings.classes,
        recordings.name,
    )
    groups = [i if item.user is None else item.user for i, item in enumerate(recordings.items)]
    return Framed(images, source, torch.tensor(groups)[source])


def copies_of(
    recordings: Recordings,
    frames: TimeFrames,
    changes: EventAugmentation,
    folder: Path,
    *,
    windows: int = 1,
    copies: int,
) -> Tensor:
    """Binary frames of changed recordings, for the images of :func:`as_images`, in their order.

    Args:
        recordings: without a transform.
        frames: as there.
        changes: of the events, drawn for each recording and copy by seed 0.
        folder: where the result is kept.
        windows: as there.
        copies: K, the number of versions of each recording, >= 1.

    Returns:
        uint8, shape (K, N, bytes of an image), see :class:`nsm.data.ImageSet`.

    Raises:
        DataError: if a recording is damaged.
    """
    key = {"data": fingerprint(recordings), "windows": windows}

    def rows() -> Iterator[NDArray[np.uint8]]:
        shape = (windows, frames.bins // windows, *frames.shape[1:])
        for number, (events, _) in enumerate(recordings.with_transform(None)):
            changed = framed_copies(events, frames, changes, number, copies).reshape(copies, *shape)
            yield changed[:, _seen(frames(events).reshape(shape))]

    return packed_copies(rows, key, frames, changes, folder, copies)


def framed_copies(
    events: Events, frames: TimeFrames, changes: EventAugmentation, number: int, copies: int
) -> NDArray[np.uint8]:
    """Frames (K, bins, 1, H, W) of changed versions of recording ``number`` of its set."""
    size = frames.sensor_size
    return np.stack(
        [frames(changes(events, size, seed=0, example=number, epoch=copy)) for copy in range(copies)]
    )


def packed_copies(
    rows: Callable[[], Iterable[NDArray[np.uint8]]],
    key: Mapping[str, Any],
    frames: TimeFrames,
    changes: EventAugmentation,
    folder: Path,
    copies: int,
) -> Tensor:
    """Copies (K, N, bytes) from the cache, or from ``rows``: frames (K, images, ...) of each recording."""
    whole = {**key, "transform": frames.to_dict(), "changes": asdict(changes), "copies": copies}

    def make() -> Arrays:
        # One recording at a time: as bytes, all copies of a large set would not fit into memory.
        parts = [np.packbits(row.reshape(*row.shape[:2], -1), axis=2) for row in rows()]
        return {"copies": np.concatenate(parts, axis=1)}

    return torch.from_numpy(cached(folder, whole, make)["copies"])


def _seen(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which windows (windows, ...) of a recording are kept: the only one, or those with an event."""
    return np.ones(1, np.bool_) if len(images) == 1 else np.asarray(images.any(axis=(1, 2, 3)))


def _made(recordings: Recordings, frames: TimeFrames, windows: int) -> Arrays:
    shape = (windows, frames.bins // windows, *frames.shape[1:])
    images = np.empty((len(recordings), *shape), np.uint8)
    for image, (events, _) in zip(images, recordings.with_transform(None), strict=True):
        image[:] = frames(events).reshape(shape)
    source = np.repeat(np.arange(len(recordings)), windows)
    seen = np.concatenate([_seen(image) for image in images])
    return {**packed(images.reshape(-1, *shape[1:])[seen]), "recordings": source[seen]}
