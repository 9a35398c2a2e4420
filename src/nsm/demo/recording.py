"""Predictions over time from a recording of an event camera: simulated from a drawing, or a file.

What the network sees at a time are the events so far, in the bins of the whole recording; those to come are
empty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nsm.data.events import Events, TimeFrames, read_nmnist
from nsm.data.events.representations import NMNIST_FRAMES
from nsm.data.simulated import simulate
from nsm.demo.sampling import Look, looks
from nsm.models import Network

STEP = 10_000  # microseconds between two predictions
_SEEN = 20_000  # microseconds of events that a picture shows
_LONGEST = 2_000_000  # microseconds: a recording of N-MNIST has 300,000


class Moment(NamedTuple):
    """What is known at one time of a recording.

    Attributes:
        time: microseconds from its beginning.
        events: counts of the last events, int64 (2, H, W), OFF and ON.
        look: the last look at the events so far.
    """

    time: int
    events: NDArray[np.int64]
    look: Look


def from_drawing(drawing: Tensor, *, seed: int) -> Events:
    """A simulated recording of a drawing, float (1, H, W) in [0, 1]."""
    pixels = (255.0 * drawing[None]).round().to(torch.uint8)
    return next(simulate(pixels, seed=seed))


def from_file(path: Path) -> Events:
    """A recording in N-MNIST's format, from its first event on.

    Raises:
        DataError: if it cannot be read or is damaged.
    """
    events = read_nmnist(path).copy()
    events["t"] -= events["t"][0]
    return events[events["t"] < _LONGEST]


def moments(net: Network, events: Events, *, confidence: float, most: int, seed: int) -> Iterator[Moment]:
    """A prediction every 10 ms from the events so far.

    Args:
        net: in evaluation mode; takes the images of N-MNIST.
        events: on a sensor of 34 x 34 pixels, at least one.
        confidence: in (0, 1), see :func:`nsm.predict`.
        most: samples of one prediction, >= 1.
        seed: of the draws.
    """
    duration = int(events["t"][-1]) + 1
    frames = replace(NMNIST_FRAMES, width=-(-duration // NMNIST_FRAMES.bins))
    for time in range(STEP, duration + STEP, STEP):
        until = int(np.searchsorted(events["t"], time))
        *_, look = looks(net, _seen(frames, events[:until]), confidence=confidence, most=most, seed=seed)
        begin = int(np.searchsorted(events["t"], time - _SEEN))
        yield Moment(min(time, duration), _counts(events[begin:until]), look)


def _seen(frames: TimeFrames, events: Events) -> Tensor:
    return torch.from_numpy(frames(events)[:, 0].astype(np.float32))


def _counts(events: Events) -> NDArray[np.int64]:
    width, height, _ = NMNIST_FRAMES.sensor_size
    cells = (events["p"].astype(np.int64) * height + events["y"]) * width + events["x"]
    counts: NDArray[np.int64] = np.bincount(cells, minlength=2 * height * width).astype(np.int64)
    return counts.reshape(2, height, width)
