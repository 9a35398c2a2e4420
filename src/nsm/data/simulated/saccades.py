"""Simulated recordings of still images by an event camera that makes three saccades, as N-MNIST was made.

The camera looks at a picture, dark on light, and is moved along a closed path in three saccades of 100 ms
(Orchard et al., Front. Neurosci. 9:437, 2015). Each pixel follows the logarithm of its light and reports when
that has risen or fallen by its threshold since its last event; for a while after an event it is blind
(Lichtsteiner et al., IEEE JSSC 43:566, 2008). Some events come from noise alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nsm import random
from nsm.data.events import Events, make

SACCADE = 100_000  # us
_SIDE, _DIGIT, _MARGIN = 34, 28, 6  # pixels of sensor, picture, and what is kept around the sensor
_PIXELS = _SIDE * _SIDE
_BATCH = 32  # recordings whose state stays in the processor's cache
_STEP = 1000  # us
_JITTER, _NOISE, _MISMATCH = range(3)  # streams of one recording
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Saccades:
    """How simulated recordings are made.

    Attributes:
        path: where the picture's centre is, in pixels (right, down) from the sensor's, every 10 ms; within 6
            pixels. Between these times it moves evenly.
        on: threshold of ON events, in natural logarithms of light, > 0.
        off: threshold of OFF events, likewise.
        mismatch: standard deviation of the thresholds of a recording's pixels, relative to these, >= 0.
        dark: light of the darkest ink relative to paper, in (0, 1).
        blur: standard deviation of the optics' blur, in pixels, >= 0.
        delay: time constant with which a pixel follows its light, in microseconds, >= 0.
        refractory: how long a pixel is blind after an event, in microseconds, >= 0.
        noise: events of each pixel that come from noise, per second, >= 0; half of them ON.

    Raises:
        ValueError: if a field has an impossible value.
    """

    path: tuple[tuple[float, float], ...]
    on: float
    off: float
    mismatch: float
    dark: float
    blur: float
    delay: float
    refractory: float
    noise: float

    def __post_init__(self) -> None:
        if len(self.path) < 2 or any(max(map(abs, place)) > _MARGIN for place in self.path):
            raise ValueError(f"path must have at least two places within {_MARGIN} pixels, got {self.path}")
        for name in ("on", "off"):
            _require(name, getattr(self, name), 0.0, math.inf, open_below=True)
        for name in ("mismatch", "blur", "delay", "refractory", "noise"):
            _require(name, getattr(self, name), 0.0, math.inf)
        _require("dark", self.dark, 0.0, 1.0, open_below=True)

    @property
    def duration(self) -> int:
        """Microseconds of a recording."""
        return (len(self.path) - 1) * 10_000


def _require(name: str, value: float, low: float, high: float, *, open_below: bool = False) -> None:
    if not (low < value if open_below else low <= value) or not value < high:
        raise ValueError(f"{name} must be in {'(' if open_below else '['}{low}, {high}), got {value}")


def simulate(
    images: Tensor, *, seed: int, first: int = 0, saccades: Saccades | None = None
) -> Iterator[Events]:
    """A simulated recording of each image, in order, made a few at a time.

    A recording is a function of its image, its number and the seed alone.

    Args:
        images: uint8, shape (N, 1, H, W), 0 paper to 255 ink; other sizes than 28 x 28 are resampled.
        seed: integer in [0, 2^63).
        first: number of the first image, so that parts of a set can be made apart.
        saccades: how; None for :data:`NMNIST_LIKE`.

    Returns:
        An iterator over structured arrays (n,) of :data:`nsm.data.events.EVENT`, on a sensor of 34 x 34
        pixels.

    Raises:
        ValueError: if the images have another dtype or shape.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 1:
        raise ValueError(
            f"images must be uint8 of shape (N, 1, H, W), got {images.dtype} of {tuple(images.shape)}"
        )
    key = torch.tensor(random.derive(random.resolve_seed(seed), "saccades"))
    return _simulated(images, key, first, NMNIST_LIKE if saccades is None else saccades)


def _simulated(images: Tensor, key: Tensor, first: int, saccades: Saccades) -> Iterator[Events]:
    for start in range(0, len(images), _BATCH):
        part = images[start : start + _BATCH]
        numbers = torch.arange(first + start, first + start + len(part))
        yield from _recordings(_light(part, saccades), numbers, key, saccades)


def _light(images: Tensor, saccades: Saccades) -> Floats:
    """Logarithm of the light around the sensor, float32 (B, 46, 46)."""
    ink = images.float() / 255.0
    if images.shape[2:] != (_DIGIT, _DIGIT):
        ink = F.interpolate(ink, (_DIGIT, _DIGIT), mode="area")
    edge = (_SIDE - _DIGIT) // 2 + _MARGIN
    ink = F.pad(ink, [edge] * 4)
    if saccades.blur > 0.0:
        reach = min(edge, math.ceil(3.0 * saccades.blur))
        kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / saccades.blur) ** 2)
        kernel /= kernel.sum()
        ink = F.conv2d(ink, kernel.view(1, 1, 1, -1), padding=(0, reach))
        ink = F.conv2d(ink, kernel.view(1, 1, -1, 1), padding=(reach, 0))
    light: Floats = torch.log(1.0 - (1.0 - saccades.dark) * ink)[:, 0].numpy()
    return light


def _recordings(light: Floats, numbers: Tensor, key: Tensor, saccades: Saccades) -> list[Events]:
    rows = random.row_indices(0, numbers)
    cells, steps, on = _fired(light, _thresholds(rows, key, saccades), saccades)
    recording, place = cells // _PIXELS, cells % _PIXELS
    order = np.argsort(recording, kind="stable")
    ends = np.cumsum(np.bincount(recording, minlength=len(numbers)))
    jitter = _uniform(key, rows, int(np.diff(ends, prepend=0).max(initial=0)), _JITTER)
    noise = _noise(rows, key, saccades)
    made = []
    for i, last in enumerate(ends):
        mine = order[(ends[i - 1] if i else 0) : last]
        t = ((steps[mine] + jitter[i, : len(mine)]) * _STEP).astype(np.int64)
        noise_t, noise_place, noise_on = noise[i]
        t = np.concatenate((t, noise_t))
        where = np.concatenate((place[mine], noise_place))
        polarity = np.concatenate((on[mine], noise_on))
        by_time = np.argsort(t, kind="stable")
        where = where[by_time]
        made.append(make(where % _SIDE, where // _SIDE, t[by_time], polarity[by_time]))
    return made


def _fired(
    light: Floats, thresholds: tuple[Floats, Floats], saccades: Saccades
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Cell (recording and pixel), step and polarity of each event, by step."""
    on_threshold, off_threshold = thresholds
    follow = np.float32(1.0 - math.exp(-_STEP / saccades.delay) if saccades.delay > 0.0 else 1.0)
    blind = max(1, round(saccades.refractory / _STEP))
    places = np.array(saccades.path)
    count = (len(places) - 1) * 10_000 // _STEP
    times = np.arange(count) * _STEP / 10_000
    right, down = (np.interp(times, np.arange(len(places)), places[:, axis]) for axis in (0, 1))
    seen = _moved(light, right[0], down[0])
    reference, until = seen.copy(), np.zeros(seen.shape, np.int16)
    cells: list[NDArray[np.int64]] = []
    kinds: list[NDArray[np.bool_]] = []
    for step in range(count):
        seen += follow * (_moved(light, right[step], down[step]) - seen)
        # A pixel that is blind forgets what it saw.
        np.copyto(reference, seen, where=until > step)
        change = seen - reference
        rising = change > on_threshold
        fired = np.flatnonzero(rising | (change < off_threshold))
        reference.ravel()[fired] = seen.ravel()[fired]
        until.ravel()[fired] = step + blind
        cells.append(fired)
        kinds.append(rising.ravel()[fired])
    steps = np.repeat(np.arange(count), [len(part) for part in cells])
    return np.concatenate(cells), steps, np.concatenate(kinds)


def _moved(light: Floats, right: float, down: float) -> Floats:
    """What the sensor sees, float32 (B, 34 * 34), of a picture that is moved; linear between pixels."""
    row, column = _MARGIN - down, _MARGIN - right
    top, left = min(int(row), 2 * _MARGIN - 1), min(int(column), 2 * _MARGIN - 1)
    below, beside = np.float32(row - top), np.float32(column - left)
    columns = light[:, :, left : left + _SIDE + 1]
    rows = columns[:, top : top + _SIDE] * (1 - below) + columns[:, top + 1 : top + 1 + _SIDE] * below
    seen = rows[:, :, :_SIDE] * (1 - beside) + rows[:, :, 1:] * beside
    return np.asarray(seen.reshape(len(light), _PIXELS), np.float32)


def _thresholds(rows: Tensor, key: Tensor, saccades: Saccades) -> tuple[Floats, Floats]:
    """Of ON and of OFF events, float32 (B, 34 * 34); that of OFF is negative."""
    where = random.place(layer=_MISMATCH)
    drawn = random.normal(key, rows, 2 * _PIXELS, where).numpy()
    spread: Floats = np.maximum(1.0 + saccades.mismatch * drawn, 0.1).astype(
        np.float32
    )  # none fires by itself
    return saccades.on * spread[:, :_PIXELS], -saccades.off * spread[:, _PIXELS:]


def _noise(
    rows: Tensor, key: Tensor, saccades: Saccades
) -> list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]]:
    """Time, pixel and polarity of each recording's noise: a Poisson process."""
    rate = saccades.noise * _PIXELS / 1e6
    expected = rate * saccades.duration
    # More gaps than any recording needs: ten standard deviations.
    most = math.ceil(expected + 10.0 * math.sqrt(expected) + 10.0) if rate else 0
    gaps, place = _uniform(key, rows, 2 * most, _NOISE).reshape(len(rows), 2, most).swapaxes(0, 1)
    t = np.cumsum(-np.log(gaps) / rate, axis=1) if rate else gaps
    twice = (place * 2 * _PIXELS).astype(np.int64)
    counts = (t < saccades.duration).sum(1)
    return [
        (t[i, :n].astype(np.int64), twice[i, :n] // 2, twice[i, :n] % 2 == 1) for i, n in enumerate(counts)
    ]


def _uniform(key: Tensor, rows: Tensor, count: int, stream: int) -> NDArray[np.float64]:
    drawn: NDArray[np.float64] = random.uniform(random.words(key, rows, count, random.place(stream))).numpy()
    return drawn


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
