"""Fitting the simulated saccades to recordings of the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from nsm.data.events import Events
from nsm.data.events.nmnist import SENSOR_SIZE
from nsm.data.simulated import Saccades, simulate
from nsm.data.simulated.saccades import SACCADE

_WINDOW = 10_000  # us, between two places of the path
_WIDTH = SENSOR_SIZE[0]
_PIXELS = SENSOR_SIZE[0] * SENSOR_SIZE[1]
_REACH = 5  # pixels to each side in which the picture is looked for
_PARAMETERS = ("on", "off", "mismatch", "dark", "blur", "delay", "refractory", "noise")
_COARSE, _FINE = 1.3, 1.04  # factors by which a parameter is changed, first and last
Floats = NDArray[np.float64]


class Statistics(NamedTuple):
    """What recordings are compared by.

    Attributes:
        events: events of each recording, (N,).
        saccades: mean number of events in each saccade, (3,).
        on: share of ON events in each saccade, (3,).
        per_time: mean number of events in every 5 ms, (64,).
        per_pixel: events of each pixel of each recording, (N, 34 * 34).
        gaps: microseconds between two events of a pixel, one after the other, (n,).
    """

    events: NDArray[np.int64]
    saccades: Floats
    on: Floats
    per_time: Floats
    per_pixel: NDArray[np.int64]
    gaps: NDArray[np.int64]

    def numbers(self) -> dict[str, float]:
        """The statistics in numbers that can stand in a table and be fitted."""
        found = {"events, mean": float(self.events.mean()), "events, deviation": float(self.events.std())}
        for i in range(3):
            found[f"events in saccade {i + 1}"] = float(self.saccades[i])
        for i in range(3):
            found[f"ON in saccade {i + 1}, %"] = 100.0 * float(self.on[i])
        for share in (75, 90, 95, 99):
            found[f"events of a pixel, {share} % below"] = float(np.percentile(self.per_pixel, share))
        for share in (1, 10, 25, 50, 75, 90):
            milliseconds = float(np.percentile(self.gaps, share)) / 1000.0
            found[f"ms between events of a pixel, {share} % below"] = milliseconds
        return found


def statistics(recordings: Sequence[Events]) -> Statistics:
    """The statistics of recordings on N-MNIST's sensor."""
    saccades, on, per_pixel, gaps = np.zeros(3), np.zeros(3), [], []
    per_time = np.zeros(64)
    for events in recordings:
        t, place = events["t"], _places(events)
        saccade = np.minimum(t // SACCADE, 2)
        saccades += np.bincount(saccade, minlength=3)
        on += np.bincount(saccade[events["p"]], minlength=3)
        per_time += np.bincount(np.minimum(t // 5000, 63), minlength=64)
        per_pixel.append(np.bincount(place, minlength=_PIXELS))
        order = np.lexsort((t, place))
        gaps.append(np.diff(t[order])[np.diff(place[order]) == 0])
    n = len(recordings)
    counts = np.array([len(events) for events in recordings])
    return Statistics(
        counts, saccades / n, on / saccades, per_time / n, np.array(per_pixel), np.concatenate(gaps)
    )


def _places(events: Events) -> NDArray[np.int64]:
    places: NDArray[np.int64] = events["y"].astype(np.int64) * _WIDTH + events["x"]
    return places


def fit(images: Tensor, recorded: Sequence[Events], start: Saccades, *, seed: int, stride: int) -> Saccades:
    """The parameters that make recordings of ``images`` most like the ``recorded`` ones of the same images.

    The path comes from what every image says about its own motion; the other parameters from a search along
    one after the other, in steps that shrink, for the smallest sum of squared differences of the logarithms
    of :meth:`Statistics.numbers`.

    Args:
        images: uint8 (N, 1, 28, 28).
        recorded: the recording of each.
        start: where the search begins; its path is not used.
        seed: seed of the simulation.
        stride: every so many images take part in the search.
    """
    chosen, images = recorded[::stride], images[::stride]
    wanted = statistics(chosen).numbers()

    def distance(candidate: Saccades) -> float:
        found = statistics(list(simulate(images, seed=seed, saccades=candidate))).numbers()
        # A tenth keeps numbers near 0 from deciding everything.
        return sum(float(np.log((found[key] + 0.1) / (wanted[key] + 0.1))) ** 2 for key in wanted)

    best = replace(start, path=fit_path(images, chosen))
    smallest, factor = distance(best), _COARSE
    while factor > _FINE:
        moved = False
        for name in _PARAMETERS:
            for change in (factor, 1.0 / factor):
                value = float(getattr(best, name)) * change
                fields: dict[str, Any] = {name: min(value, 0.95) if name == "dark" else value}
                candidate = replace(best, **fields)
                found = distance(candidate)
                if found < smallest:
                    best, smallest, moved = candidate, found, True
                    break
        if not moved:
            factor = factor**0.5
    return best


def fit_path(images: Tensor, recorded: Sequence[Events]) -> tuple[tuple[float, float], ...]:
    """Where the picture was every 10 ms.

    In each window the signed events are regressed on the picture's gradient, at every whole offset of the
    picture: the best offset says where it was, and its coefficients how it moved, up to one factor. The path
    adds up the motion; its start and the factor are those that fit the offsets best.
    """
    margin = (_WIDTH - images.shape[-1]) // 2
    ink = np.pad(images[:, 0].numpy() / 255.0, ((0, 0), (margin, margin), (margin, margin)))
    light = -np.log(1.0 - 0.9 * ink)
    light = (np.roll(light, 1, 1) + 2.0 * light + np.roll(light, -1, 1)) / 4.0
    light = (np.roll(light, 1, 2) + 2.0 * light + np.roll(light, -1, 2)) / 4.0
    down, right = (np.asarray(part) for part in np.gradient(light, axis=(1, 2)))
    longest = max(int(events["t"][-1]) for events in recorded)
    found = [
        _motion(_signed(recorded, start, start + _WINDOW), right, down)
        for start in range(0, longest - _WINDOW // 2, _WINDOW)
    ]
    offsets, motions = (np.array([window[i] for window in found]) for i in (0, 1))
    weights = np.sqrt([window[2] for window in found])
    moved = np.cumsum(motions, axis=0) - 0.5 * motions  # up to the middle of each window
    # offset = start + factor * moved, the same factor in both directions.
    ones, zeros = np.ones(len(found)), np.zeros(len(found))
    design = np.concatenate(
        (np.stack((ones, zeros, moved[:, 0]), 1), np.stack((zeros, ones, moved[:, 1]), 1))
    )
    both = np.concatenate((weights, weights))
    x, y, factor = np.linalg.lstsq(design * both[:, None], offsets.T.ravel() * both, rcond=None)[0]
    path = np.array([x, y]) + factor * np.concatenate((np.zeros((1, 2)), np.cumsum(motions, axis=0)))
    return tuple((round(float(a), 3), round(float(b), 3)) for a, b in path)


def _signed(recorded: Sequence[Events], start: int, end: int) -> Floats:
    """ON less OFF events of each pixel of each recording in a window of time."""
    counts = np.zeros((len(recorded), _PIXELS))
    for count, events in zip(counts, recorded, strict=True):
        part = events[slice(*np.searchsorted(events["t"], (start, end)))]
        count[:] = np.bincount(_places(part), np.where(part["p"], 1.0, -1.0), minlength=_PIXELS)
    return counts


def _motion(signed: Floats, right: Floats, down: Floats) -> tuple[tuple[int, int], Floats, float]:
    """Best offset (right, down), motion there, and how much of the events' energy it explains."""
    best: tuple[tuple[int, int], Floats, float] = ((0, 0), np.zeros(2), 0.0)
    for y in range(-_REACH, _REACH + 1):
        for x in range(-_REACH, _REACH + 1):
            gradient = np.stack([np.roll(part, (y, x), (1, 2)).ravel() for part in (right, down)], 1)
            moment = gradient.T @ signed.ravel()
            slope = np.linalg.solve(gradient.T @ gradient, moment)
            explained = float(moment @ slope)
            if explained > best[2]:
                # Dark on light: where the picture moves to the right, light comes from the left.
                best = ((x, y), np.asarray(slope, np.float64), explained)
    return best
