"""The label tables of the DVS Gestures release: which gesture from when to when."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from nsm.data.arguments import whole
from nsm.data.errors import DataError
from nsm.data.events.reading import read_all
from nsm.files import write_atomically

_HEADINGS = "class,startTime_usec,endTime_usec"
_LIMIT = 2**20
_DIGITS = 15  # of a number; 10^15 us are thirty years
_LATEST = 10**_DIGITS - 2


class Label(NamedTuple):
    """One gesture of a recording.

    Attributes:
        target: number of its class, counted from 0 (the file counts from 1).
        start: its first microsecond, in the recording's clock.
        end: the microsecond after its last, > ``start``.
    """

    target: int
    start: int
    end: int


def read_labels(path: str | Path, classes: int) -> list[Label]:
    """The rows of a label table, in their order.

    Args:
        path: a CSV file of at most 1 MiB.
        classes: number of classes.

    Raises:
        DataError: naming file and line, if it cannot be read or is no such table.
    """
    path = Path(path)
    try:
        lines = read_all(path, _LIMIT).decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: byte {error.start} is no ASCII text") from error
    if not lines or lines[0].replace(" ", "") != _HEADINGS:
        raise DataError(f"{path}: line 1 must be {_HEADINGS}, got {''.join(lines[:1])!r:.80}")
    labels = [_row(path, number, line, classes) for number, line in enumerate(lines[1:], 2) if line.strip()]
    if not labels:
        raise DataError(f"{path}: holds no label")
    return labels


def _row(path: Path, number: int, line: str, classes: int) -> Label:
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != 3 or not all(cell.isdigit() and len(cell) <= _DIGITS for cell in cells):
        raise DataError(f"{path}: line {number} must be three whole numbers, got {line!r:.80}")
    label, start, end = (int(cell) for cell in cells)
    if not 1 <= label <= classes:
        raise DataError(f"{path}: class in line {number} must be in [1, {classes}], got {label}")
    if start >= end:
        raise DataError(f"{path}: gesture in line {number} ends at {end} us, not after its start at {start}")
    return Label(label - 1, start, end)


def write_labels(path: str | Path, labels: Sequence[Label]) -> None:
    """Write a label table, by a temporary name and a rename.

    Raises:
        ValueError: if there is no gesture, or one is none that :func:`read_labels` would take.
    """
    path = Path(path)
    if not labels:
        raise ValueError("labels must hold at least one gesture, got none")
    rows = [_written(f"labels[{number}]", label) for number, label in enumerate(labels)]
    write_atomically(path, ("\n".join([_HEADINGS, *rows]) + "\n").encode())


def _written(name: str, label: Label) -> str:
    target = whole(f"{name}.target", label.target, 0, _LATEST)
    start = whole(f"{name}.start", label.start, 0, _LATEST - 1)
    end = whole(f"{name}.end", label.end, start + 1, _LATEST)
    return f"{target + 1},{start},{end}"
