"""N-MNIST's format: 40 bits for an event, no header (Orchard et al., Front. Neurosci. 9:437, 2015).

An event is x, y, then polarity (the highest bit) and time in microseconds (23 bits), highest byte first. A
row of 240, which no sensor of this family has, is no event: it says that 2^13 us have to be added to all
times from there on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nsm.data.errors import DataError
from nsm.data.events.array import EVENT, Events, SensorSize, check_writable, checked_size, sound
from nsm.data.events.reading import read_all
from nsm.files import write_atomically

SENSOR_SIZE: SensorSize = (34, 34, 2)
_RAW = np.dtype([("x", "u1"), ("y", "u1"), ("high", "u1"), ("low", ">u2")])
SIZE = _RAW.itemsize
_LIMIT = 64 * 2**20  # bytes of a recording; real ones have 50 kB
OVERFLOW_ROW, OVERFLOW = 240, 2**13


def read_nmnist(path: str | Path, sensor_size: SensorSize = SENSOR_SIZE, *, repair: bool = False) -> Events:
    """The events of a recording in N-MNIST's format.

    Args:
        path: a file of at most 64 MiB.
        sensor_size: (width, height, polarities); N-Caltech101 has the same format and larger sensors.
        repair: leave out what is broken (a piece of an event at the end, events outside the sensor), sort
            times that run back, and take an empty file for an empty recording, instead of refusing the file.

    Returns:
        Structured array (n,) of :data:`nsm.data.events.EVENT`, t in microseconds.

    Raises:
        DataError: if the file cannot be read or is no sound recording.
        ValueError: if ``sensor_size`` is none.
    """
    path, sensor_size = Path(path), checked_size(sensor_size)
    data = read_all(path, _LIMIT)
    rest = len(data) % SIZE
    if rest and not repair:
        raise DataError(
            f"{path}: ends within an event, {rest} bytes after byte {len(data) - rest}: "
            f"{len(data)} bytes are not a multiple of {SIZE}"
        )
    events = decode(data)
    if sensor_size[1] <= OVERFLOW_ROW and (events["y"] == OVERFLOW_ROW).any():
        return _without_overflows(events, sensor_size, path, repair=repair)
    return sound(events, sensor_size, path, lambda event: event * SIZE, repair=repair)


def decode(data: bytes) -> Events:
    """The rows of as many whole events as ``data`` holds, those that move the clock among them."""
    raw = np.frombuffer(data, _RAW, count=len(data) // SIZE)
    high = raw["high"]
    t = (high & 0x7F).astype(np.int64)
    t <<= 16
    t |= raw["low"]
    events = np.empty(len(raw), EVENT)
    events["x"], events["y"], events["t"], events["p"] = raw["x"], raw["y"], t, high >> 7
    return events


def _without_overflows(events: Events, sensor_size: SensorSize, path: Path, *, repair: bool) -> Events:
    overflow = events["y"] == OVERFLOW_ROW
    events["t"] += np.cumsum(overflow) * OVERFLOW
    places = np.flatnonzero(~overflow)
    kept = events[places]
    return sound(kept, sensor_size, path, lambda event: int(places[event]) * SIZE, repair=repair)


def write_nmnist(path: str | Path, events: Events) -> None:
    """Write a recording in N-MNIST's format, by a temporary name and a rename.

    Args:
        path: the file.
        events: structured array (n,) with fields x and y in [0, 255] (y not 240), t in [0, 2^23) and p.

    Raises:
        ValueError: if the format cannot hold an event, or time runs back.
    """
    path = Path(path)
    check_writable(events, {"x": 255, "y": 255, "t": 2**23 - 1, "p": 1})
    if (events["y"] == OVERFLOW_ROW).any():
        raise ValueError(f"events['y'] must not be {OVERFLOW_ROW}, which has another meaning in this format")
    raw = np.empty(len(events), _RAW)
    t = events["t"].astype(np.int64)
    raw["x"], raw["y"], raw["low"] = events["x"], events["y"], t & 0xFFFF
    raw["high"] = (t >> 16) | (events["p"].astype(np.int64) << 7)
    write_atomically(path, raw.tobytes())
