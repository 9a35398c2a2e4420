"""Simulated recordings of still images by an event camera that makes three saccades, as N-MNIST was made.

The camera looks at a picture, dark on light, and is moved along a closed path in three saccades of 100 ms
(Orchard et al., Front. Neurosci. 9:437, 2015).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nsm import random
from nsm.data.arguments import real, whole
from nsm.data.events import Events
from nsm.data.simulated.sensor import Floats, Pixels, record

SACCADE = 100_000  # us
_SIDE, _DIGIT, _MARGIN = 34, 28, 6  # pixels of sensor, picture, and what is kept around the sensor
_BATCH = 32  # recordings whose state stays in the processor's cache
_STEP = 1000  # us


@dataclass(frozen=True, kw_only=True)
class Saccades(Pixels):
    """How simulated recordings are made: the camera's pixels, its path and the picture.

    Attributes:
        path: where the picture's centre is, in pixels (right, down) from the sensor's, every 10 ms; within 6
            pixels. Between these times it moves evenly.
        dark: light of the darkest ink relative to paper, in (0, 1).
        blur: standard deviation of the optics' blur, in pixels, >= 0.

    Raises:
        ValueError: if a field has an impossible value.
    """

    path: tuple[tuple[float, float], ...]
    dark: float
    blur: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if not _is_several(self.path) or not all(map(_is_near, self.path)):
            raise ValueError(
                f"path must have at least two places (right, down) within {_MARGIN} pixels, "
                f"got {self.path!r:.200}"
            )
        self._require("blur", 0.0, math.inf)
        self._require("dark", 0.0, 1.0, open_below=True)

    @property
    def duration(self) -> int:
        """Microseconds of a recording."""
        return (len(self.path) - 1) * 10_000


def _is_several(values: object) -> bool:
    return isinstance(values, (Sequence, np.ndarray)) and len(values) >= 2


def _is_near(place: Sequence[object]) -> bool:
    """Whether it is a pair of numbers within the margin."""
    if not _is_several(place) or len(place) != 2:
        return False
    return all(abs(real("path", pixels)) <= _MARGIN for pixels in place)


def simulate(
    images: Tensor, *, seed: int, first: int = 0, saccades: Saccades | None = None
) -> Iterator[Events]:
    """A simulated recording of each image, in order, made a few at a time.

    A recording is a function of its image, its number and the seed alone.

    Args:
        images: uint8, shape (N, 1, H, W), 0 paper to 255 ink; other sizes than 28 x 28 are resampled.
        seed: integer in [0, 2^63).
        first: number of the first image, so that parts of a set can be made apart; in [0, 2^32 - N].
        saccades: how; None for :data:`NMNIST_LIKE`.

    Returns:
        An iterator over structured arrays (n,) of :data:`nsm.data.events.EVENT`, on a sensor of 34 x 34
        pixels.

    Raises:
        ValueError: if the images have another dtype or shape, or there are no such numbers.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 1:
        raise ValueError(
            f"images must be uint8 of shape (N, 1, H, W), got {images.dtype} of {tuple(images.shape)}"
        )
    first = checked_first(first, len(images))
    key = torch.tensor(random.derive(random.resolve_seed(seed), "saccades"))
    return _simulated(images, key, first, NMNIST_LIKE if saccades is None else saccades)


def checked_first(first: object, count: int) -> int:
    """The number of the first of ``count`` recordings, if all of them have one."""
    return whole("first", first, 0, random.MAX_INDEX + 1 - count, f" for {count} recordings")


def _simulated(images: Tensor, key: Tensor, first: int, saccades: Saccades) -> Iterator[Events]:
    for start in range(0, len(images), _BATCH):
        part = images[start : start + _BATCH]
        numbers = torch.arange(first + start, first + start + len(part))
        light = _seen(_light(part, saccades), saccades)
        yield from record(light, saccades, _SIDE, step=_STEP, key=key, numbers=numbers)


def _light(images: Tensor, saccades: Saccades) -> Floats:
    """Logarithm of the light around the sensor, float32 (B, 46, 46)."""
    ink = images.float() / 255.0
    if images.shape[2:] != (_DIGIT, _DIGIT):
        ink = F.interpolate(ink, (_DIGIT, _DIGIT), mode="area")
    edge = (_SIDE - _DIGIT) // 2 + _MARGIN
    ink = F.pad(ink, [edge] * 4)
    if saccades.blur > 0.0:
        ink = _blurred(ink, min(edge, math.ceil(3.0 * saccades.blur)), saccades.blur)
    light: Floats = torch.log(1.0 - (1.0 - saccades.dark) * ink)[:, 0].numpy()
    return light


def _blurred(ink: Tensor, reach: int, deviation: float) -> Tensor:
    """Images (B, 1, H, W) under a Gaussian of ``2 * reach + 1`` pixels; what is outside is paper.

    Summed pixel by pixel in one order: a convolution's last bits differ with the size of the batch.
    """
    weights = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / deviation) ** 2)
    weights /= weights.sum()
    for axis, border in ((3, (reach, reach)), (2, (0, 0, reach, reach))):
        wide, size = F.pad(ink, border), ink.shape[axis]
        parts = [weight * wide.narrow(axis, i, size) for i, weight in enumerate(weights.tolist())]
        ink = functools.reduce(torch.add, parts)
    return ink


def _seen(light: Floats, saccades: Saccades) -> Iterator[Floats]:
    """What the sensor sees at the start of each step, float32 (B, 34 * 34)."""
    places = np.array(saccades.path)
    times = np.arange(saccades.duration // _STEP) * _STEP / 10_000
    right, down = (np.interp(times, np.arange(len(places)), places[:, axis]) for axis in (0, 1))
    return (_moved(light, *place) for place in zip(right, down, strict=True))


def _moved(light: Floats, right: float, down: float) -> Floats:
    """What the sensor sees, float32 (B, 34 * 34), of a picture that is moved; linear between pixels."""
    row, column = _MARGIN - down, _MARGIN - right
    top, left = min(int(row), 2 * _MARGIN - 1), min(int(column), 2 * _MARGIN - 1)
    below, beside = np.float32(row - top), np.float32(column - left)
    columns = light[:, :, left : left + _SIDE + 1]
    rows = columns[:, top : top + _SIDE] * (1 - below) + columns[:, top + 1 : top + 1 + _SIDE] * below
    seen = rows[:, :, :_SIDE] * (1 - beside) + rows[:, :, 1:] * beside
    return np.asarray(seen.reshape(len(light), -1), np.float32)


# Fitted to N-MNIST's training recordings by ``nsm reproduce saccades --fit``.
NMNIST_LIKE = Saccades(
    path=(  # every 10 ms
        (-2.57, -1.79),
        (-2.59, -1.72),
        (-2.67, -1.43),
        (-2.75, -0.71),
        (-2.74, 0.38),
        (-2.67, 1.62),
        (-2.17, 2.69),
        (-1.6, 3.36),
        (-1.28, 3.58),
        (-1.18, 3.61),
        (-1.09, 3.56),
        (-0.97, 3.51),
        (-0.79, 3.51),
        (-0.32, 3.3),
        (0.39, 2.61),
        (0.98, 1.58),
        (1.21, 0.5),
        (1.57, -0.52),
        (1.9, -1.11),
        (2.06, -1.27),
        (2.19, -1.27),
        (2.4, -1.26),
        (2.52, -1.29),
        (2.44, -1.31),
        (1.68, -1.24),
        (0.8, -1.33),
        (-0.16, -1.45),
        (-1.05, -1.58),
        (-1.62, -1.69),
        (-2.09, -1.72),
        (-2.26, -1.7),
        (-2.28, -1.7),
    ),
    on=0.2,
    off=0.228,
    mismatch=0.305,
    dark=0.13,
    blur=0.504,
    delay=1105.0,
    refractory=2000.0,
    noise=0.617,
)
