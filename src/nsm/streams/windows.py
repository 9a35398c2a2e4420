"""What the published networks see of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nsm.data.events import TimeFrames
from nsm.data.events.representations import GESTURE_FRAMES, GESTURE_WINDOW_BINS, NMNIST_FRAMES

# The network for N-MNIST learns from ten equal parts of whole recordings, which last 306 ms in the median.
NMNIST_WINDOW = replace(NMNIST_FRAMES, width=30_000)
GESTURE_WINDOW = replace(GESTURE_FRAMES, bins=GESTURE_WINDOW_BINS)

WINDOWS: Mapping[str, TimeFrames] = {
    "nmnist": NMNIST_WINDOW,
    "nmnist-simulated": NMNIST_WINDOW,
    "dvsgesture": GESTURE_WINDOW,
    "dvsgesture-precut": GESTURE_WINDOW,
}


def window_of(name: str) -> TimeFrames:
    """The frames that networks trained on a data set see of a stream.

    Raises:
        ValueError: if the set holds no recordings of events.
    """
    if name not in WINDOWS:
        raise ValueError(f"a stream needs a network for one of {', '.join(WINDOWS)}; this one is for {name}")
    return WINDOWS[name]
