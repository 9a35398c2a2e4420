"""Events into the cells of a sliding window, one after another: the kernel and its plain form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nsm.native import paths

REMEMBERED = 8  # events of a pixel and polarity among which a duplicate is known
LARGEST_TIME = 2**62 - 1
_PLAIN_EVENTS = 4096  # that become Python numbers at a time
_FIELDS = {"x": np.int16, "y": np.int16, "t": np.int64, "p": np.bool_}


class WindowState(NamedTuple):
    """What a sliding window knows; the arrays are changed in place.

    Attributes:
        cells: int32 (2, height, width), where an event of each polarity and pixel falls in a flat frame; -1
            for nowhere.
        frames: uint8 (slots, cells), 1 where there was an event, or int32, how many; tick i has slot i mod
            slots.
        remembered: int64 (2, height, width, 8), times of the last events of each polarity and pixel.
        oldest: uint8 (2, height, width), which of them the next one replaces.
        counts: int64 (4,), events taken, late, duplicate, and outside.
        tick: microseconds of a slot.
    """

    cells: NDArray[np.int32]
    frames: NDArray[Any]
    remembered: NDArray[np.int64]
    oldest: NDArray[np.uint8]
    counts: NDArray[np.int64]
    tick: int


def window_state(cells: NDArray[np.int32], *, slots: int, size: int, tick: int, binary: bool) -> WindowState:
    """An empty window of ``slots`` frames of ``size`` cells."""
    return WindowState(
        cells=np.ascontiguousarray(cells, np.int32),
        frames=np.zeros((slots, size), np.uint8 if binary else np.int32),
        remembered=np.full((*cells.shape, REMEMBERED), -1, np.int64),
        oldest=np.zeros(cells.shape, np.uint8),
        counts=np.zeros(4, np.int64),
        tick=tick,
    )


def take_events(events: NDArray[np.void], state: WindowState, *, origin: int, start: int, until: int) -> int:
    """Take events in their order up to the first one of ``until`` or later.

    An event off the sensor or of a time outside [0, 2^62) is outside; one before ``start`` is late; one that
    equals one of the last eight taken of its pixel and polarity is a duplicate. They are counted and dropped.

    Args:
        events: structured (n,), with int16 ``x`` and ``y``, int64 ``t`` and bool ``p``.
        state: is changed.
        origin: time at which tick 0 begins, at most ``start``.
        start: of what is still wanted.
        until: its end, at most slots * tick after ``start``.

    Returns:
        Number of events that were looked at, at least one unless the first is of ``until`` or later; the
        plain form stops after some thousands.

    Raises:
        TypeError: if the events have other fields.
    """
    fields: Mapping[str, Any] = events.dtype.fields or {}
    if any(name not in fields or fields[name][0] != kind for name, kind in _FIELDS.items()):
        raise TypeError(f"events must have int16 x and y, int64 t and bool p, got {events.dtype}")
    extension = paths.kernels()
    if extension is None:
        return _plain(events, state, origin=origin, start=start, until=until)
    events = np.ascontiguousarray(events)
    slots, size = state.frames.shape
    _, height, width = state.cells.shape
    assert extension.remembered == REMEMBERED, "the kernels were built for another memory"
    taken: int = extension.take_events(
        events=events.ctypes.data,
        count=len(events),
        record=events.itemsize,
        fields=[fields[name][1] for name in _FIELDS],
        width=width,
        height=height,
        cells=state.cells.ctypes.data,
        frames=state.frames.ctypes.data,
        slots=slots,
        frame_cells=size,
        binary=state.frames.dtype == np.uint8,
        remembered=state.remembered.ctypes.data,
        oldest=state.oldest.ctypes.data,
        origin=origin,
        tick=state.tick,
        start=start,
        until=until,
        largest=LARGEST_TIME,
        counts=state.counts.ctypes.data,
    )
    return taken


def _plain(events: NDArray[np.void], state: WindowState, *, origin: int, start: int, until: int) -> int:
    taken, late, duplicate, outside = range(4)
    _, height, width = state.cells.shape
    events = events[:_PLAIN_EVENTS]
    columns: list[list[Any]] = [events[name].tolist() for name in _FIELDS]
    for number, (x, y, t, p) in enumerate(zip(*columns, strict=True)):
        if not (0 <= x < width and 0 <= y < height and 0 <= t <= LARGEST_TIME):
            state.counts[outside] += 1
            continue
        if t >= until:
            return number
        if t < start:
            state.counts[late] += 1
            continue
        pixel = (int(p), y, x)
        if (state.remembered[pixel] == t).any():
            state.counts[duplicate] += 1
            continue
        state.remembered[pixel][state.oldest[pixel]] = t
        state.oldest[pixel] = (state.oldest[pixel] + 1) % REMEMBERED
        state.counts[taken] += 1
        if (cell := state.cells[pixel]) < 0:
            continue
        slot = (t - origin) // state.tick % len(state.frames)
        if state.frames.dtype == np.uint8:
            state.frames[slot, cell] = 1
        else:
            state.frames[slot, cell] += 1
    return len(events)
