"""Recordings played: a few events at a time, from files of any length and from pipes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO, Protocol, cast

import numpy as np

from nsm.data.errors import DataError
from nsm.data.events import aedat, nmnist
from nsm.data.events.array import EVENT, Events

_EVENTS = 8192  # in one array
_AEDAT = b"#!AER-DAT"
_END = re.compile(rb"\n" + re.escape(aedat.LAST) + rb"\r*\n")


class _Reader(Protocol):
    def read1(self, size: int, /) -> bytes: ...


def play(file: BinaryIO, name: str) -> Iterator[Events]:
    """The events of a recording in the order in which they lie in the file, as soon as they can be read.

    Whether the file is AEDAT 3.1 or in N-MNIST's format is told by its first bytes. Only the format is
    checked: events may lie off any sensor, and time may run back.

    Args:
        file: open for reading bytes, and buffered; a pipe gives what there is.
        name: of the file, for errors.

    Yields:
        Structured arrays of at most 8192 events of :data:`nsm.data.events.EVENT`.

    Raises:
        DataError: if the file cannot be read, holds nothing, or is damaged; naming the byte, after all events
            that come before it.
    """
    source = _Source(file, name)
    first = source.exactly(len(_AEDAT))
    if not first:
        raise DataError(f"{name}: holds nothing, neither AEDAT 3.1 nor events in N-MNIST's format")
    source.give_back(first)
    yield from _aedat(source) if first == _AEDAT else _nmnist(source)


class _Source:
    """A file, and the place in it.

    Attributes:
        name: of the file.
        place: bytes read so far.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.name, self.place = name, 0
        self._file, self._ahead = cast("_Reader", file), b""

    def some(self, most: int) -> bytes:
        """At most ``most`` bytes, and at least one unless the file is over."""
        if not self._ahead:
            try:
                self._ahead = self._file.read1(max(most, 4096))
            except OSError as error:
                raise DataError(f"{self.name}: cannot be read ({error.strerror or error})") from error
        given, self._ahead = self._ahead[:most], self._ahead[most:]
        self.place += len(given)
        return given

    def exactly(self, count: int) -> bytes:
        """``count`` bytes, or fewer where the file is over."""
        parts = [self.some(count)]
        while (lacking := count - sum(map(len, parts))) and parts[-1]:
            parts.append(self.some(lacking))
        return b"".join(parts)

    def give_back(self, data: bytes) -> None:
        """Read ``data``, the last bytes, once more."""
        self._ahead = data + self._ahead
        self.place -= len(data)


def _nmnist(source: _Source) -> Iterator[Events]:
    moved, rest = 0, b""
    while data := source.some(_EVENTS * nmnist.SIZE - len(rest)):
        data = rest + data
        whole = len(data) - len(data) % nmnist.SIZE
        rest = data[whole:]
        events = nmnist.decode(data[:whole])
        overflow = events["y"] == nmnist.OVERFLOW_ROW
        if moved or overflow.any():
            events["t"] += moved + np.cumsum(overflow) * nmnist.OVERFLOW
            moved += int(overflow.sum()) * nmnist.OVERFLOW
            events = events[~overflow]
        if len(events):
            yield events
    if rest:
        raise DataError(
            f"{source.name}: ends within an event, {len(rest)} bytes after byte {source.place - len(rest)}"
        )


def _aedat(source: _Source) -> Iterator[Events]:
    _pass_text(source)
    while header := source.exactly(aedat.PACKET.size):
        start = source.place - len(header)
        if len(header) < aedat.PACKET.size:
            cut = f"ends within its header: {len(header)} of {aedat.PACKET.size} bytes"
            raise DataError(f"{source.name}: packet at byte {start} {cut}")
        kind, _, size, time, overflow, capacity, number, valid = aedat.PACKET.unpack(header)
        if problem := aedat.impossible(kind, size, time, overflow, capacity, number, valid):
            raise DataError(f"{source.name}: packet at byte {start} {problem}")
        body, marked, rest = source.place, 0, b""
        used = number * size if kind == aedat.POLARITY else 0
        # What there is, not whole packets: those of a camera at rest take long to fill.
        while (left := body + used - source.place) and (
            data := source.some(min(left, _EVENTS * size - len(rest)))
        ):
            data = rest + data
            count = len(data) // size
            rest = data[count * size :]
            events, marks = np.empty(count, EVENT), np.empty(count, np.bool_)
            aedat.decode(np.frombuffer(data, "<u4", 2 * count), overflow, events, marks)
            marked += int(marks.sum())
            if marks.any():
                yield events if marks.all() else events[marks]
        while (left := body + capacity * size - source.place) and source.some(
            min(left, _EVENTS * aedat.SIZE)
        ):
            pass
        if left:
            raise DataError(
                f"{source.name}: packet at byte {start} says {capacity} events of {size} bytes, "
                f"but {source.place - body} bytes are left"
            )
        if kind == aedat.POLARITY and marked != valid:
            raise DataError(
                f"{source.name}: packet at byte {start} says {valid} valid events, but marks {marked}"
            )


def _pass_text(source: _Source) -> None:
    text = b""
    while len(text) < aedat.TEXT_LIMIT and (more := source.some(4096)):
        text += more
        if b"\n" in more and _END.search(text):
            break
    source.give_back(text[aedat.body_start(source.name, text) :])
