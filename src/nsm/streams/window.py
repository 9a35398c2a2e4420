"""The frames of the last moments, kept up to date event by event."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nsm.data.events import EVENT, Events, TimeFrames
from nsm.native.stream import LARGEST_TIME, REMEMBERED, take_events, window_state

_MOST_BYTES = 2**28
_PIXEL_BYTES = 2 * REMEMBERED * 8  # times of both polarities by which duplicates are known


class Counts(NamedTuple):
    """What became of the events of a stream.

    Attributes:
        taken: those that the window took.
        late: those that came when neither the next decision's window nor the time since the last decision
            reached back to them; dropped.
        duplicate: those that equal one of the last eight taken of their pixel and polarity; dropped.
        outside: those off the sensor, or of a time outside [0, 2^62); dropped.
    """

    taken: int
    late: int
    duplicate: int
    outside: int


class Moment(NamedTuple):
    """A time at which a decision is due.

    Attributes:
        number: of the decision, from 1; it is due ``number`` times ``every`` after the first event.
        time: in microseconds of the stream's clock; events before it count.
        frames: (bins, P, H, W).
    """

    number: int
    time: int
    frames: NDArray[Any]


class SlidingWindow:
    """Frames of equal time that slide along a stream.

    The window of a decision is the ``bins * width`` microseconds before it. As long as the stream is younger
    than that, the window begins with the stream's first event and is filled from its first bin on, as a
    recording is that begins there; bins still to come are empty.

    Time is divided into ticks, whose frames stay until they leave the window: memory does not grow, and a
    decision costs one pass over them. Moments come as soon as an event shows that they are over; one whose
    window is empty is left out.

    Args:
        frames: with a width.
        every: microseconds from one decision to the next, in [1, 2^62).

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if the frames have no width, ``every`` is impossible, or more than 256 MiB would be taken:
            128 bytes for each pixel of the sensor, and the frames of their common tick.
    """

    def __init__(self, frames: TimeFrames, *, every: int) -> None:
        if not isinstance(frames, TimeFrames):
            raise TypeError(f"frames must be TimeFrames, got {type(frames).__name__}")
        every = _as_time("every", every)
        if frames.width is None:
            raise ValueError("frames must have a width: without one they divide a whole recording")
        if not 1 <= every <= LARGEST_TIME:
            raise ValueError(f"every must be in [1, 2^62) (us), got {every}")
        columns, rows, _ = frames.sensor_size
        left = _MOST_BYTES - columns * rows * _PIXEL_BYTES
        if left < 0:
            raise ValueError(
                f"frames must be of a sensor of at most {_MOST_BYTES // _PIXEL_BYTES} pixels, "
                f"got {columns} x {rows}"
            )
        self.frames, self.every = frames, every
        bins, width = int(frames.bins), int(frames.width)
        tick = math.gcd(width, every)
        self._bin_ticks, self._ticks, self._step = (span // tick for span in (width, bins * width, every))
        slots, size = max(self._ticks, self._step), math.prod(frames.shape)
        if slots * size * (1 if frames.binary else 4) > left:
            wanted = (
                "be shorter"
                if self._step > self._ticks
                else f"have a longer common divisor with the bins of {width} us"
            )
            raise ValueError(f"every must {wanted}: {every} us would take {slots} frames of {size} cells")
        self._state = window_state(frames.cells, slots=slots, size=size, tick=tick, binary=frames.binary)
        self._origin: int | None = None
        self._next = 1

    @property
    def counts(self) -> Counts:
        """What became of the events so far."""
        return Counts(*self._state.counts.tolist())

    def feed(self, events: Events) -> Iterator[Moment]:
        """Take events, in the order in which they arrived; the moments that they show to be over.

        Events between two moments are taken when the later one is asked for: go through all of them.

        Args:
            events: structured array (n,) of any length, with the fields x, y, t, p.

        Raises:
            TypeError: if they are no such array.
            ValueError: if a polarity is neither 0 nor 1.
        """
        events = _as_events(events)
        if self._origin is None:
            inside = self._inside(events)
            if not inside.any():
                self._state.counts[3] += len(events)
                return
            self._origin = int(events["t"][np.argmax(inside)])
        done = 0
        while done < len(events):
            done += take_events(
                events[done:], self._state, origin=self._origin, start=self._start, until=self._until
            )
            if done < len(events):
                yield from self._advance(int(events["t"][done]))

    def advance(self, time: int) -> Iterator[Moment]:
        """The moments up to ``time``, in microseconds of the stream's clock: no event before it will come.

        Args:
            time: below 2^62.

        Raises:
            TypeError: if ``time`` is no whole number.
            ValueError: if it is too large.
        """
        time = _as_time("time", time)
        if time > LARGEST_TIME:
            raise ValueError(f"time must be below 2^62 (us), got {time}")
        return self._advance(time)

    def _advance(self, time: int) -> Iterator[Moment]:
        while self._origin is not None and self._until <= time:
            frames = self._frames()
            if frames.any():
                yield Moment(self._next, self._until, frames)
                self._slide(1)
            else:
                # Nothing will be seen before the next event.
                self._slide((time - self._until) // self.every + 1)

    def finish(self) -> Iterator[Moment]:
        """The moment that is due next: the stream is over."""
        if self._origin is not None:
            yield from self._advance(self._until)

    @property
    def _until(self) -> int:
        assert self._origin is not None
        return self._origin + self._next * self.every

    @property
    def _start(self) -> int:
        """Of the window of the next decision, or of the time since the last, whichever is longer."""
        assert self._origin is not None
        return self._origin + max(0, self._next * self._step - len(self._state.frames)) * self._state.tick

    def _frames(self) -> NDArray[Any]:
        first = max(0, self._next * self._step - self._ticks)
        slots = np.arange(first, first + self._ticks) % len(self._state.frames)
        by_bin = self._state.frames[slots].reshape(self.frames.bins, self._bin_ticks, -1)
        joined: NDArray[Any] = by_bin.max(1) if self.frames.binary else by_bin.sum(1, dtype=np.int32)
        return joined.reshape(-1, *self.frames.shape)

    def _slide(self, decisions: int) -> None:
        """Pass over so many decisions, and free the slots of the next one's time."""
        end = (self._next + decisions) * self._step
        first = max(self._next * self._step, end - len(self._state.frames))
        self._state.frames[np.arange(first, end) % len(self._state.frames)] = 0
        self._next += decisions

    def _inside(self, events: Events) -> NDArray[np.bool_]:
        width, height, _ = self.frames.sensor_size
        x, y, t = events["x"], events["y"], events["t"]
        inside: NDArray[np.bool_] = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        return inside & (t >= 0) & (t <= LARGEST_TIME)


def _as_time(name: str, value: object) -> int:
    """``value`` as a number of Python's, which no stream is long enough to overflow."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{name} must be a whole number (us), got {value!r:.80}")
    return int(value)


def _as_events(events: object) -> Events:
    """``events`` with the fields' usual types; what does not fit them becomes what is outside."""
    names = EVENT.names or ()
    if not isinstance(events, np.ndarray):
        raise TypeError(f"events must be a structured array (n,), got {type(events).__name__}")
    if events.ndim != 1 or not set(names) <= set(events.dtype.names or ()):
        raise TypeError(
            f"events must have shape (n,) and the fields x, y, t, p, got {events.dtype} of {events.shape}"
        )
    if all(events.dtype[name] == EVENT[name] for name in names):
        return events
    converted = np.empty(len(events), EVENT)
    for name in ("x", "y", "t"):
        column = events[name]
        if column.dtype.kind not in "iu" or column.ndim != 1:
            raise TypeError(f"events[{name!r}] must hold whole numbers, got {events.dtype[name]}")
        held, wanted = np.iinfo(column.dtype), np.iinfo(EVENT[name])
        converted[name] = np.clip(column, max(-1, held.min), min(wanted.max, held.max))
    polarity = events["p"]
    if polarity.dtype.kind not in "biuf" or polarity.ndim != 1:
        raise TypeError(f"events['p'] must hold booleans or numbers, got {events.dtype['p']}")
    # Some readers say -1 for OFF: by what is not zero it would be ON.
    wrong = polarity[(polarity != 0) & (polarity != 1)]
    if len(wrong):
        raise ValueError(f"events['p'] must be 1 for ON and 0 for OFF, got {wrong[0]}")
    converted["p"] = polarity
    return converted
