"""AEDAT 3.1, the format of the DVS Gestures release: text lines, then packets of events.

Text lines begin with ``#``; the first is ``#!AER-DAT3.1`` and the last ``#!END-HEADER``. A packet is a header
of 28 bytes (type, source, size of an event, offset of its time, overflows of its clock, capacity, number of
events, number of valid ones), then ``capacity`` events; all little-endian. A polarity event (type 1) is a
word (x: bits 17-31, y: bits 2-16, polarity: bit 1, valid: bit 0) and 31 bits of time in microseconds, which
the packet's overflows continue. Packets of other types are passed over.
"""

from __future__ import annotations

import struct
from array import array
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nsm.data.errors import DataError
from nsm.data.events.array import EVENT, Events, SensorSize, check_writable, checked_size, sound
from nsm.data.events.reading import read_all
from nsm.files import write_atomically

DVS128: SensorSize = (128, 128, 2)
_LIMIT = 2**28
TEXT_LIMIT = 2**16
FIRST, LAST = b"#!AER-DAT3.1", b"#!END-HEADER"
PACKET = struct.Struct("<hhiiiiii")
POLARITY, SIZE, _TIME_OFFSET = 1, 8, 4
_WRITTEN = 8192  # events of a packet that is written
_TOGETHER = 8192  # events that are decoded at once, and those of one packet more


class _Packets(NamedTuple):
    """Where the events of packets are, int64 (n,): first byte, number of events, of those marked valid, and
    overflows.
    """

    start: NDArray[np.int64]
    number: NDArray[np.int64]
    valid: NDArray[np.int64]
    overflow: NDArray[np.int64]


def read_aedat(path: str | Path, sensor_size: SensorSize = DVS128, *, repair: bool = False) -> Events:
    """The valid polarity events of an AEDAT 3.1 recording.

    Args:
        path: a file of at most 256 MiB.
        sensor_size: (width, height, polarities).
        repair: leave out what is broken (a cut packet's missing events, everything behind a packet that
            cannot be, events outside the sensor), sort times that run back, and take a file without events
            for an empty recording, instead of refusing the file.

    Returns:
        Structured array (n,) of :data:`nsm.data.events.EVENT`, t in microseconds of the recording's clock.

    Raises:
        DataError: if the file cannot be read or is no sound recording. Text lines that are not those of AEDAT
            3.1 cannot be repaired.
        ValueError: if ``sensor_size`` is none.
    """
    path, sensor_size = Path(path), checked_size(sensor_size)
    data = read_all(path, _LIMIT)
    packets = _packets(path, data, body_start(path, data), repair=repair)
    events, valid = _decoded(data, packets)
    if not repair:
        _check_valid(path, packets, valid)
    places = None if valid.all() else np.flatnonzero(valid)

    def offset(event: int) -> int:
        number = event if places is None else int(places[event])
        ends = np.cumsum(packets.number)
        packet = np.searchsorted(ends, number, "right")
        return int(packets.start[packet] + SIZE * (number - (ends[packet] - packets.number[packet])))

    return sound(events if places is None else events[places], sensor_size, path, offset, repair=repair)


def _decoded(data: bytes, packets: _Packets) -> tuple[Events, NDArray[np.bool_]]:
    """All events of the packets, and which of them are marked valid."""
    ends = np.cumsum(packets.number)
    total = int(ends[-1]) if len(ends) else 0
    events, valid = np.empty(total, EVENT), np.empty(total, np.bool_)
    # Short packets are decoded together, as many as stay in the processor's cache.
    cuts = np.flatnonzero(np.diff(ends // _TOGETHER)) + 1
    place = 0
    for first, last in pairwise((0, *cuts.tolist(), len(ends))):
        body, overflow = _body(data, packets, slice(first, last))
        rows = slice(place, place + len(body) // SIZE)
        decode(np.frombuffer(body, "<u4"), overflow, events[rows], valid[rows])
        place = rows.stop
    return events, valid


def _body(data: bytes, packets: _Packets, part: slice) -> tuple[memoryview | bytes, NDArray[np.int64]]:
    """The bytes of the events of some packets, one after the other, and the overflows: of each event, or of
    all of them.
    """
    starts, numbers = packets.start[part], packets.number[part]
    ends = (starts + SIZE * numbers).tolist()
    if len(ends) == 1:
        return memoryview(data)[int(starts[0]) : ends[0]], packets.overflow[part]
    bodies = [data[start:end] for start, end in zip(starts.tolist(), ends, strict=True)]
    return b"".join(bodies), np.repeat(packets.overflow[part], numbers)


def decode(
    words: NDArray[np.uint32], overflow: int | NDArray[np.int64], events: Events, valid: NDArray[np.bool_]
) -> None:
    """Write the events of some words, two for each, and which of them are marked valid."""
    address, t = words[::2], words[1::2]
    events["t"] = t
    if np.any(overflow):
        events["t"] += overflow << 31
    events["x"] = address >> 17
    events["y"] = (address >> 2) & 0x7FFF
    events["p"] = address & 2
    valid[:] = address & 1


def body_start(path: Path | str, data: bytes) -> int:
    """The byte at which packets begin."""
    text = data[:TEXT_LIMIT]
    if not text.startswith(FIRST):
        raise DataError(f"{path}: starts with {text[:14]!r} at byte 0, but AEDAT 3.1 starts with {FIRST!r}")
    start = 0
    while (end := text.find(b"\n", start)) >= 0:
        line = text[start : end + 1].rstrip(b"\r\n")
        if not line.startswith(b"#"):
            raise DataError(f"{path}: line at byte {start} does not start with '#'")
        if line.startswith(b"#Format:") and line.split(b":", 1)[1].strip() != b"RAW":
            raise DataError(f"{path}: format at byte {start} must be RAW, got {line[8:40]!r}")
        start = end + 1
        if line == LAST:
            return start
    raise DataError(f"{path}: has no line {LAST.decode()} in its first {len(text)} bytes")


def _packets(path: Path, data: bytes, start: int, *, repair: bool) -> _Packets:
    """The packets of polarity events; where ``repair`` is set, up to the first that cannot be."""
    found = array("q")
    while start < len(data):
        body = start + PACKET.size
        if body > len(data):
            kept, problem = 0, f"ends within its header: {len(data) - start} of {PACKET.size} bytes"
        else:
            kind, size, overflow, capacity, number, valid, problem = _header(data[start:body])
            kept = 0 if problem else number
            if not problem and body + capacity * size > len(data):
                kept = min(number, (len(data) - body) // size)
                problem = f"says {capacity} events of {size} bytes, but {len(data) - body} bytes are left"
            if kind == POLARITY and kept:
                found.extend((body, kept, valid, overflow))
        if problem:
            if repair:
                break
            raise DataError(f"{path}: packet at byte {start} {problem}")
        start = body + capacity * size
    return _Packets(*np.array(found).reshape(-1, 4).T)


@lru_cache(maxsize=1024)
def _header(header: bytes) -> tuple[int, int, int, int, int, int, str]:
    """Type, size of an event, overflows, capacity, number of events and of valid ones, and what is impossible
    in them; kept, since the headers of short packets are alike.
    """
    kind, _, size, time, overflow, capacity, number, valid = PACKET.unpack(header)
    problem = impossible(kind, size, time, overflow, capacity, number, valid)
    return kind, size, overflow, capacity, number, valid, problem or ""


def impossible(
    kind: int, size: int, time: int, overflow: int, capacity: int, number: int, valid: int
) -> str | None:
    """What is impossible in a packet's header."""
    if min(kind, overflow, capacity, number, valid) < 0 or size < 1:
        return f"has a negative number in its header, or events of {size} bytes"
    if not valid <= number <= capacity:
        return f"says {valid} valid of {number} events in space for {capacity}"
    if kind == POLARITY and (size, time) != (SIZE, _TIME_OFFSET):
        return f"says polarity events of {size} bytes with time at {time}, must be {SIZE} and {_TIME_OFFSET}"
    return None


def _check_valid(path: Path, packets: _Packets, valid: NDArray[np.bool_]) -> None:
    if not len(packets.start):
        return
    found = np.add.reduceat(valid, np.cumsum(packets.number) - packets.number, dtype=np.int64)
    wrong = np.flatnonzero(found != packets.valid)
    if len(wrong):
        first = wrong[0]
        raise DataError(
            f"{path}: packet at byte {packets.start[first] - PACKET.size} says {packets.valid[first]} valid "
            f"events, but marks {found[first]}"
        )


def write_aedat(path: str | Path, events: Events, *, comments: tuple[str, ...] = ()) -> None:
    """Write a recording as AEDAT 3.1, by a temporary name and a rename.

    Args:
        path: the file.
        events: structured array (n,) with fields x and y in [0, 2^15), t in [0, 2^62) and p.
        comments: text lines for the header, one line each, in ASCII.

    Raises:
        ValueError: if the format cannot hold an event, time runs back, or a comment is no line.
    """
    path = Path(path)
    check_writable(events, {"x": 2**15 - 1, "y": 2**15 - 1, "t": 2**62 - 1, "p": 1})
    lines = [FIRST, b"#Format: RAW", b"#Source 1: DVS128", *map(_comment, comments), LAST]
    parts = [b"".join(line + b"\r\n" for line in lines)]
    words = np.empty((len(events), 2), "<u4")
    x, y, p = (events[name].astype(np.uint32) for name in ("x", "y", "p"))
    words[:, 0] = x << 17 | y << 2 | p << 1 | 1
    t = events["t"].astype(np.int64)
    words[:, 1] = t & 0x7FFFFFFF
    overflow = t >> 31
    # A packet has one count of overflows.
    cuts = {*range(0, len(events), _WRITTEN), *(np.flatnonzero(np.diff(overflow)) + 1).tolist(), len(events)}
    edges = sorted(cuts)
    for first, last in pairwise(edges):
        count = last - first
        header = (POLARITY, 1, SIZE, _TIME_OFFSET, int(overflow[first]), count, count, count)
        parts += [PACKET.pack(*header), words[first:last].tobytes()]
    write_atomically(path, b"".join(parts))


def _comment(text: str) -> bytes:
    if not text.isascii() or not text.isprintable() or text.startswith(("!", "Format:")):
        raise ValueError(f"comments must be printable lines of ASCII without a meaning, got {text!r:.80}")
    return f"# {text}".encode()
