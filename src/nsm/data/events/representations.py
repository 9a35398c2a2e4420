"""From events to arrays that a network takes, as frozen, serialisable functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nsm.data.arguments import flag, real, whole
from nsm.data.events.array import EVENT, Events, SensorSize, check_events, checked_size, make

Polarity = Literal["both", "merged", "on", "off"]
POLARITIES: tuple[Polarity, ...] = get_args(Polarity)
_LATEST = 2**63 - 1  # microseconds that they can


@dataclass(frozen=True, kw_only=True)
class Representation(ABC):
    """A function of the events of one recording.

    Attributes:
        sensor_size: (width, height, polarities).
        polarity: ``"both"``: two channels, OFF and ON; ``"merged"``: one for all events; ``"on"`` or
            ``"off"``: one, without the others.
        shrink: pixels of the sensor that become one along each axis, >= 1; what is left over at the right and
            lower edge is left out.

    Raises:
        ValueError: if a field has an impossible value.
    """

    sensor_size: SensorSize
    polarity: Polarity = "both"
    shrink: int = 1

    def __post_init__(self) -> None:
        if self.polarity not in POLARITIES:
            raise ValueError(f"polarity must be one of {', '.join(POLARITIES)}, got {self.polarity!r}")
        self._set("sensor_size", checked_size(self.sensor_size))
        self._require("shrink", high=min(self.sensor_size[:2]))

    def _require(self, name: str, *, high: float = float("inf")) -> None:
        self._set(name, whole(name, getattr(self, name), 1, high))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @abstractmethod
    def __call__(self, events: Events) -> NDArray[Any]:
        """The representation of ``events``, shape (n,), sorted by time.

        Raises:
            ValueError: if they are not, lie outside the sensor, or are none.
        """

    def to_dict(self) -> dict[str, Any]:
        """JSON-able description, from which a cache's key is made."""
        return {"representation": type(self).__name__, **asdict(self)}

    @property
    def shape(self) -> tuple[int, int, int]:
        """(polarities, height, width) of one frame."""
        width, height, _ = self.sensor_size
        return (2 if self.polarity == "both" else 1, height // self.shrink, width // self.shrink)

    @property
    def cells(self) -> NDArray[np.int32]:
        """Where an event of each polarity and pixel falls in a flat frame, int32 (2, height, width); -1 for
        nowhere.
        """
        width, height, _ = self.sensor_size
        p, y, x = (axis.ravel() for axis in np.indices((2, height, width)))
        # The time tells which pixels are left.
        left, place = self._places(make(x, y, np.arange(len(x)), p))
        cells = np.full(len(x), -1, np.int32)
        cells[left["t"]] = place
        return cells.reshape(2, height, width)

    def _places(self, events: Events) -> tuple[Events, NDArray[np.int64]]:
        """The events that count, and where each falls in a flat frame."""
        check_events(events)
        if events.dtype != EVENT:
            events = make(events["x"], events["y"], events["t"], events["p"])
        if (events["t"][1:] < events["t"][:-1]).any():
            raise ValueError("events must be sorted by time")
        if self.polarity in ("on", "off"):
            events = events[events["p"] == (self.polarity == "on")]
        width, height, _ = self.sensor_size
        x, y = events["x"].astype(np.int64), events["y"].astype(np.int64)
        if len(events) and (min(x.min(), y.min()) < 0 or x.max() >= width or y.max() >= height):
            raise ValueError(f"events must lie on the sensor of {width} x {height} pixels")
        _, rows, columns = self.shape
        if self.shrink > 1:
            x, y = x // self.shrink, y // self.shrink
            inside = (x < columns) & (y < rows)
            if not inside.all():
                events, x, y = events[inside], x[inside], y[inside]
        place = y * columns + x
        if self.polarity == "both":
            place += events["p"] * np.int64(rows * columns)
        return events, place

    def _frames(
        self, frame: NDArray[np.int64], place: NDArray[np.int64], count: int, *, binary: bool
    ) -> NDArray[Any]:
        """Events in each cell of ``count`` frames, or whether there are any."""
        size = int(np.prod(self.shape))
        flat = frame * size + place
        if binary:
            cells = np.zeros(count * size, np.uint8)
            cells[flat] = 1
        else:
            cells = np.bincount(flat, minlength=count * size).astype(np.int32)
        return cells.reshape(count, *self.shape)


@dataclass(frozen=True, kw_only=True)
class TimeFrames(Representation):
    """Events in bins of equal time.

    Bin b of a recording holds the events with t in [b w, (b + 1) w), where w is ``width``; without a width,
    the recording from its first to its last event is divided into bins of equal length.

    Attributes:
        bins: number of frames, >= 1.
        width: length of a bin in microseconds, in [1, 2^63), from time 0 on; what comes later is left out.
            None to divide the recording.
        binary: whether a cell says that there was an event (uint8), or how many (int32).
    """

    bins: int
    width: int | None = None
    binary: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("bins")
        if self.width is not None:
            self._require("width", high=_LATEST)
        self._set("binary", flag("binary", self.binary))

    def __call__(self, events: Events) -> NDArray[Any]:
        """Frames (bins, P, H, W)."""
        if self.width is None:
            first, length = _extent(events)
            events, place = self._places(events)
            frame = _parts(events["t"], first, length, self.bins)
        else:
            events, place = self._places(events)
            frame = events["t"] // self.width
            inside = (frame >= 0) & (frame < self.bins)
            if not inside.all():
                frame, place = frame[inside], place[inside]
        return self._frames(frame, place, self.bins, binary=self.binary)


@dataclass(frozen=True, kw_only=True)
class CountFrames(Representation):
    """Frames of equally many events; what is left at the end is left out.

    Attributes:
        events: number of events of a frame, >= 1, of those polarities and pixels that count.
        binary: whether a cell says that there was an event (uint8), or how many (int32).
    """

    events: int
    binary: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("events")
        self._set("binary", flag("binary", self.binary))

    def __call__(self, events: Events) -> NDArray[Any]:
        """Frames (n, P, H, W) with n = number of events // ``events``."""
        _, place = self._places(events)
        count = len(place) // self.events
        place = place[: count * self.events]
        return self._frames(np.arange(len(place)) // self.events, place, count, binary=self.binary)


@dataclass(frozen=True, kw_only=True)
class VoxelGrid(Representation):
    """Events spread linearly over the two nearest of some points in time (Zhu et al., CVPR 2019, eq. 1, 2).

    With t* = (bins - 1)(t - t_first)/(t_last - t_first), an event adds s max(0, 1 - abs(b - t*)) to its cell
    of bin b; s is the polarity's sign where ``polarity`` is ``"merged"``, else 1.

    Attributes:
        bins: number of points, >= 1.
    """

    bins: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("bins")

    def __call__(self, events: Events) -> NDArray[Any]:
        """float32 (bins, P, H, W)."""
        size = int(np.prod(self.shape))
        first, length = _extent(events)
        events, place = self._places(events)
        position = (self.bins - 1.0) * _elapsed(events["t"], first) / max(1, length - 1)
        before = np.floor(position).astype(np.int64)
        after = position - before
        sign = np.where(events["p"], 1.0, -1.0) if self.polarity == "merged" else np.ones(len(events))
        # One bin too many: the last event's share of what comes after it is 0.
        cells = np.bincount(before * size + place, sign * (1.0 - after), minlength=(self.bins + 1) * size)
        cells += np.bincount((before + 1) * size + place, sign * after, minlength=(self.bins + 1) * size)
        return cells[: self.bins * size].astype(np.float32).reshape(self.bins, *self.shape)


@dataclass(frozen=True, kw_only=True)
class TimeSurface(Representation):
    """How long ago each pixel had its last event (Lagorce et al., IEEE TPAMI 39:1346, 2017, eq. 2 and 3).

    A cell holds exp(-(T - t)/tau), t the time of its last event before T, and 0 where it had none. T is the
    end of each of ``bins`` equal parts of the recording.

    Attributes:
        bins: number of surfaces, >= 1.
        tau: microseconds, > 0.
    """

    bins: int
    tau: float

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require("bins")
        self._set("tau", real("tau", self.tau))
        if not 0.0 < self.tau < float("inf"):
            raise ValueError(f"tau must be positive and finite (us), got {self.tau}")

    def __call__(self, events: Events) -> NDArray[Any]:
        """float32 (bins, P, H, W), values in [0, 1]."""
        size = int(np.prod(self.shape))
        first, length = _extent(events)
        events, place = self._places(events)
        part = _parts(events["t"], first, length, self.bins)
        last = np.full(self.bins * size, -np.inf)
        # Of assignments to one cell the last one stays, which is the latest in time.
        last[part * size + place] = _elapsed(events["t"], first)
        last = np.maximum.accumulate(last.reshape(self.bins, size), axis=0)
        ends = (np.arange(1.0, self.bins + 1.0) * length / self.bins)[:, None]
        # Floats round the times of centuries, some to beyond the end that they come before.
        surface = np.exp(np.minimum(last - ends, 0.0) / self.tau)
        return surface.astype(np.float32).reshape(self.bins, *self.shape)


def _extent(events: Events) -> tuple[int, int]:
    """The first of the times, and the microseconds from it through the last, >= 1 of sorted ones."""
    check_events(events)
    t = events["t"]
    # As Python's numbers: a span may be longer than the type of its times can name.
    return (int(t[0]), int(t[-1]) - int(t[0]) + 1) if len(t) else (0, 1)


def _elapsed(t: NDArray[np.int64], first: int) -> NDArray[np.uint64]:
    """Microseconds since ``first``, at most each of the times ``t``."""
    # The difference wraps around as signed numbers and is right as unsigned ones.
    return (t - first).astype(np.uint64)


def _parts(t: NDArray[np.int64], first: int, length: int, count: int) -> NDArray[np.int64]:
    """In which of ``count`` equal parts of ``length`` microseconds from ``first`` on each time lies.

    In whole numbers: the last time falls into the last part, whatever the length.
    """
    if count * length < 2**63:
        return (t - first) * count // length
    inner = (first - (-part * length // count) for part in range(1, count))
    return np.searchsorted(np.fromiter(inner, np.int64, count - 1), t, side="right")


# What the published networks see [N19].
NMNIST_FRAMES = TimeFrames(sensor_size=(34, 34, 2), bins=10, polarity="merged", binary=True)
GESTURE_WINDOW_BINS, GESTURE_WINDOWS = 6, 18
GESTURE_FRAMES = TimeFrames(
    sensor_size=(128, 128, 2),
    bins=GESTURE_WINDOW_BINS * GESTURE_WINDOWS,
    width=16_000,
    polarity="on",
    shrink=2,
    binary=True,
)
