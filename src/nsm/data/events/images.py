"""Sets of recordings as sets of images: a recording's frames are the channels of one image or of several."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

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
        DataError: if a recording is damaged.
    """
    assert frames.binary, "images hold bytes"
    assert frames.shape[0] == 1, "frames become channels"
    key = {"data": fingerprint(recordings), "transform": frames.to_dict(), "windows": windows}
    arrays = cached(folder, key, lambda: _made(recordings, frames, windows))
    source = torch.from_numpy(arrays["recordings"])
    images = ImageSet(
        torch.from_numpy(unpacked(arrays)).mul_(255),
        torch.from_numpy(recordings.targets)[source],
        recordings.classes,
        recordings.name,
    )
    groups = [i if item.user is None else item.user for i, item in enumerate(recordings.items)]
    return Framed(images, source, torch.tensor(groups)[source])


def _made(recordings: Recordings, frames: TimeFrames, windows: int) -> Arrays:
    shape = (windows, frames.bins // windows, *frames.shape[1:])
    images = np.empty((len(recordings), *shape), np.uint8)
    for image, (events, _) in zip(images, recordings.with_transform(None), strict=True):
        image[:] = frames(events).reshape(shape)
    source = np.repeat(np.arange(len(recordings)), windows)
    flat = images.reshape(-1, *shape[1:])
    if windows > 1:
        seen = flat.any(axis=(1, 2, 3))
        flat, source = flat[seen], source[seen]
    return {**packed(flat), "recordings": source}
