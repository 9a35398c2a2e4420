"""What the published networks see of a stream."""

from __future__ import annotations

from dataclasses import replace

from nsm.data import describe
from nsm.data.events import TimeFrames
from nsm.data.events.representations import GESTURE_FRAMES, GESTURE_WINDOW_BINS, NMNIST_FRAMES

# The network for N-MNIST learns from ten equal parts of whole recordings, which last 306 ms in the median.
NMNIST_WINDOW = replace(NMNIST_FRAMES, width=30_000)
GESTURE_WINDOW = replace(GESTURE_FRAMES, bins=GESTURE_WINDOW_BINS)


def window_of(name: str) -> TimeFrames:
    """The frames that networks trained on a data set see of a stream.

    Raises:
        ValueError: if there is no set of this name, or it holds no recordings of events.
    """
    image = describe(name).image
    for window in (NMNIST_WINDOW, GESTURE_WINDOW):
        polarities, height, width = window.shape
        if image == (window.bins * polarities, height, width):
            return window
    raise ValueError(f"a stream needs a network for recordings of events; {name} holds images of {image}")
