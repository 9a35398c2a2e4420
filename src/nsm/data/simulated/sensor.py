"""The pixels of a simulated event camera.

Each pixel follows the logarithm of its light and reports when that has risen or fallen by its threshold since
its last event; for a while after an event it is blind (Lichtsteiner et al., IEEE JSSC 43:566, 2008). Some
events come from noise alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nsm import random
from nsm.data.arguments import real
from nsm.data.events import Events, make

Floats = NDArray[np.float32]
_JITTER, _NOISE, _MISMATCH = range(3)  # streams of one recording
FIRST_FREE_STREAM = 3


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """What the pixels of a camera are like.

    Attributes:
        on: threshold of ON events, in natural logarithms of light, > 0.
        off: threshold of OFF events, likewise.
        mismatch: standard deviation of the thresholds of a recording's pixels, relative to these, >= 0.
        delay: time constant with which a pixel follows its light, in microseconds, >= 0.
        refractory: how long a pixel is blind after an event, in microseconds, >= 0.
        noise: events of each pixel that come from noise, per second, >= 0; half of them ON.

    Raises:
        ValueError: if a field has an impossible value.
    """

    on: float
    off: float
    mismatch: float
    delay: float
    refractory: float
    noise: float

    def __post_init__(self) -> None:
        for name in ("on", "off"):
            self._require(name, 0.0, math.inf, open_below=True)
        for name in ("mismatch", "delay", "refractory", "noise"):
            self._require(name, 0.0, math.inf)

    def _require(self, name: str, low: float, high: float, *, open_below: bool = False) -> None:
        value = real(name, getattr(self, name))
        if not (low < value if open_below else low <= value) or not value < high:
            raise ValueError(f"{name} must be in {'(' if open_below else '['}{low}, {high}), got {value}")


def record(
    light: Iterable[Floats], pixels: Pixels, width: int, *, step: int, key: Tensor, numbers: Tensor
) -> list[Events]:
    """What cameras report of the light that falls on them; recordings are independent.

    Args:
        light: natural logarithm of the light at the start of each step, at least one, float32 (B, number of
            pixels) by rows of the sensor; the first is what the pixels have got used to.
        pixels: what they are like.
        width: pixels of a row.
        step: microseconds of a step, > 0; a pixel has one event in it at most.
        key: seed of the draws, int64 scalar.
        numbers: what tells the B recordings' draws apart, int64 (B,), in [0, 2^32).

    Returns:
        The events of each recording, by time.
    """
    rows = random.row_indices(0, numbers)
    seen = iter(light)
    first = next(seen).copy()
    size = first.shape[1]
    cells, steps, on, count = _fired(first, seen, _thresholds(rows, key, pixels, size), pixels, step)
    recording, place = cells // size, cells % size
    order = np.argsort(recording, kind="stable")
    ends = np.cumsum(np.bincount(recording, minlength=len(numbers)))
    jitter = uniform(key, rows, int(np.diff(ends, prepend=0).max(initial=0)), _JITTER)
    noise = _noise(rows, key, pixels, size, count * step)
    made = []
    for i, last in enumerate(ends):
        mine = order[(ends[i - 1] if i else 0) : last]
        t = ((steps[mine] + jitter[i, : len(mine)]) * step).astype(np.int64)
        noise_t, noise_place, noise_on = noise[i]
        t = np.concatenate((t, noise_t))
        where = np.concatenate((place[mine], noise_place))
        polarity = np.concatenate((on[mine], noise_on))
        by_time = np.argsort(t, kind="stable")
        where = where[by_time]
        made.append(make(where % width, where // width, t[by_time], polarity[by_time]))
    return made


def _fired(
    seen: Floats, light: Iterable[Floats], thresholds: tuple[Floats, Floats], pixels: Pixels, step: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], int]:
    """Cell (recording and pixel), step and polarity of each event, by step; number of steps.

    ``seen`` is what the pixels start with, in the first step; ``light`` what comes in the others.
    """
    on_threshold, off_threshold = thresholds
    follow = np.float32(1.0 - math.exp(-step / pixels.delay) if pixels.delay > 0.0 else 1.0)
    blind = max(1, round(pixels.refractory / step))
    reference, until = seen.copy(), np.zeros(seen.shape, np.int32)
    nothing = np.empty(0, np.int64)
    cells: list[NDArray[np.int64]] = [nothing]
    kinds: list[NDArray[np.bool_]] = [nothing.astype(np.bool_)]
    for now, coming in enumerate(light, 1):
        seen += follow * (coming - seen)
        # A pixel that is blind forgets what it saw.
        np.copyto(reference, seen, where=until > now)
        change = seen - reference
        rising = change > on_threshold
        fired = np.flatnonzero(rising | (change < off_threshold))
        reference.ravel()[fired] = seen.ravel()[fired]
        until.ravel()[fired] = now + blind
        cells.append(fired)
        kinds.append(rising.ravel()[fired])
    steps = np.repeat(np.arange(len(cells)), [len(part) for part in cells])
    return np.concatenate(cells), steps, np.concatenate(kinds), len(cells)


def _thresholds(rows: Tensor, key: Tensor, pixels: Pixels, size: int) -> tuple[Floats, Floats]:
    """Of ON and of OFF events, float32 (B, size); that of OFF is negative."""
    drawn = random.normal(key, rows, 2 * size, random.place(layer=_MISMATCH)).numpy()
    # None fires by itself.
    spread: Floats = np.maximum(1.0 + pixels.mismatch * drawn, 0.1).astype(np.float32)
    return pixels.on * spread[:, :size], -pixels.off * spread[:, size:]


def _noise(
    rows: Tensor, key: Tensor, pixels: Pixels, size: int, duration: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]]:
    """Time, pixel and polarity of each recording's noise: a Poisson process."""
    rate = pixels.noise * size / 1e6
    expected = rate * duration
    # More gaps than any recording needs: ten standard deviations.
    most = math.ceil(expected + 10.0 * math.sqrt(expected) + 10.0) if rate else 0
    gaps, place = uniform(key, rows, 2 * most, _NOISE).reshape(len(rows), 2, most).swapaxes(0, 1)
    t = np.cumsum(-np.log(gaps) / rate, axis=1) if rate else gaps
    twice = (place * 2 * size).astype(np.int64)
    counts = (t < duration).sum(1)
    return [
        (t[i, :n].astype(np.int64), twice[i, :n] // 2, twice[i, :n] % 2 == 1) for i, n in enumerate(counts)
    ]


def uniform(key: Tensor, rows: Tensor, count: int, stream: int) -> NDArray[np.float64]:
    """Numbers in (0, 1), float64 (R, count), for rows (R, 2) of :func:`nsm.random.words`."""
    drawn: NDArray[np.float64] = random.uniform(random.words(key, rows, count, random.place(stream))).numpy()
    return drawn
