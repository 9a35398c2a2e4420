"""Events as structured arrays, and what makes a recording a sound one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nsm.data.arguments import whole
from nsm.data.errors import DataError

# Read by field name: x and y in pixels from the upper left corner, t in microseconds, p True for ON.
EVENT = np.dtype([("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?")])
Events = NDArray[np.void]
SensorSize = tuple[int, int, int]  # width, height, polarities
_LARGEST_SIDE = 2**15  # pixels that the fields of an event can name


def make(x: ArrayLike, y: ArrayLike, t: ArrayLike, p: ArrayLike) -> Events:
    """Events from their columns.

    Args:
        x: column of the pixel, whole numbers in [-32768, 32767], shape (n,).
        y: row of the pixel, likewise.
        t: microseconds, whole numbers of 64 bits, shape (n,).
        p: polarity, True or 1 for ON, shape (n,).

    Raises:
        ValueError: naming the column that is not of shape (n,), or holds what its field cannot.
    """
    columns = {name: _column(name, values) for name, values in (("x", x), ("y", y), ("t", t), ("p", p))}
    shape = columns["t"].shape
    events = np.empty(shape, EVENT)
    for name, values in columns.items():
        if values.ndim != 1 or values.shape != shape:
            raise ValueError(f"{name} must have shape (n,) like t, of shape {shape}, got {values.shape}")
        if not _kept(values, events[name]):
            raise ValueError(f"{name} must hold values of type {EVENT[name]}, got others, of {values.dtype}")
    return events


def _column(name: str, values: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError as error:  # lists of several lengths
        raise ValueError(f"{name} must have shape (n,), got {values!r:.80}") from error


def _kept(values: NDArray[Any], field: NDArray[Any]) -> bool:
    """Whether ``field`` holds ``values``, to which it is set."""
    if values.dtype.kind not in "biufO":
        return False
    with np.errstate(invalid="ignore", over="ignore"):
        try:
            field[:] = values
        except (OverflowError, TypeError, ValueError):  # an integer beyond 64 bits, or any other object
            return False
        return bool((field == values).all())


def checked_size(sensor_size: object) -> SensorSize:
    """(width, height, polarities) as ints.

    Raises:
        ValueError: if they are not those of a sensor.
    """
    if not isinstance(sensor_size, (tuple, list)) or len(sensor_size) != 3:
        raise ValueError(f"sensor_size must be (width, height, polarities), got {sensor_size!r:.80}")
    width, height = (
        whole(f"sensor_size[{i}]", value, 1, _LARGEST_SIDE) for i, value in enumerate(sensor_size[:2])
    )
    return width, height, whole("sensor_size[2]", sensor_size[2], 1, 2)


def sound(
    events: Events, sensor_size: SensorSize, path: Path, offset: Callable[[int], int], *, repair: bool
) -> Events:
    """``events`` if they lie on the sensor and their time never runs back.

    Args:
        events: shape (n,).
        sensor_size: (width, height, polarities).
        path: the file that they are from.
        offset: from an event's number to the byte at which it begins.
        repair: leave out events outside the sensor and sort the rest by time instead of refusing them.

    Raises:
        DataError: naming file, byte and event.
    """
    width, height, _ = sensor_size
    if not len(events):
        if repair:
            return events
        raise DataError(f"{path}: holds no event")
    x, y, t = events["x"], events["y"], events["t"]
    # The smallest and largest values settle the common case in a few fast passes.
    if x.min() < 0 or y.min() < 0 or x.max() >= width or y.max() >= height:
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        if not repair:
            first = int(np.argmin(inside))
            raise DataError(
                f"{path}: event {first} at byte {offset(first)} lies at ({x[first]}, {y[first]}), "
                f"outside the sensor of {width} x {height} pixels"
            )
        events = events[inside]
        t = events["t"]
    back = t[1:] < t[:-1]
    if back.any():
        if not repair:
            first = int(np.argmax(back)) + 1
            raise DataError(
                f"{path}: time runs back from {t[first - 1]} to {t[first]} us at event {first}, "
                f"byte {offset(first)}"
            )
        events = events[np.argsort(t, kind="stable")]
    return events


def check_events(events: object) -> None:
    """Refuse what is no structured array (n,) with the fields of :data:`EVENT`.

    Raises:
        ValueError: saying what came.
    """
    form = "events must be a structured array of shape (n,) with the fields x, y, t, p"
    if not isinstance(events, np.ndarray):
        raise ValueError(f"{form}, got {type(events).__name__}")
    if events.ndim != 1 or not set(EVENT.names or ()) <= set(events.dtype.names or ()):
        raise ValueError(f"{form}, got {events.dtype} of {events.shape}")


def check_writable(events: Events, limits: dict[str, int]) -> None:
    """Refuse events that a format cannot hold, before anything is written.

    Args:
        events: shape (n,), with the fields of :data:`EVENT`, of integers or booleans of any width.
        limits: largest value of each field.

    Raises:
        ValueError: if they are none; naming the field, and its type, or its value and its range.
    """
    check_events(events)
    for name, limit in limits.items():
        column = events[name]
        if column.dtype.kind not in "iub":
            raise ValueError(f"events[{name!r}] must hold whole numbers, got type {column.dtype}")
        if len(column) and (column.min() < 0 or column.max() > limit):
            wrong = column[(column < 0) | (column > limit)][0]
            raise ValueError(f"events[{name!r}] must be in [0, {limit}] in this format, got {wrong}")
    if (events["t"][1:] < events["t"][:-1]).any():
        raise ValueError("events['t'] must not run back")
