"""DVS Gestures as tonic distributes them: one gesture a file, an array (n, 4) of x, y, p and t in ms."""

from __future__ import annotations

import io
import math
import tokenize
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from nsm.data.errors import DataError
from nsm.data.events.aedat import DVS128
from nsm.data.events.array import EVENT, Events, SensorSize, checked_size, make, sound
from nsm.data.events.reading import read_all

_LIMIT = 2**28
_COLUMNS = 4
_BLOCK = 2**16  # rows that are widened at a time: narrow ones of a whole file would take many times its size
_LATEST = 2**53 / 1000  # ms; microseconds stay whole numbers in float64
# What numpy raises for a header that is none.
_BROKEN = (ValueError, SyntaxError, TypeError, EOFError, KeyError, RecursionError, tokenize.TokenError)


def read_precut(path: str | Path, sensor_size: SensorSize = DVS128, *, repair: bool = False) -> Events:
    """The events of one pre-cut gesture.

    Args:
        path: an ``.npy`` file of at most 256 MiB, without pickled objects.
        sensor_size: (width, height, polarities).
        repair: leave out rows that are no events of the sensor and sort times that run back, instead of
            refusing the file.

    Returns:
        Structured array (n,) of :data:`nsm.data.events.EVENT`, t in microseconds.

    Raises:
        DataError: if the file cannot be read, is no such array, or is no sound recording.
        ValueError: if ``sensor_size`` is none.
    """
    path, sensor_size = Path(path), checked_size(sensor_size)
    rows, start, step = _read(path)
    events, count = np.empty(len(rows), EVENT), 0
    for first in range(0, len(rows), _BLOCK):
        block, possible = _widened(rows[first : first + _BLOCK])
        if not possible.all():
            if not repair:
                wrong = int(np.argmin(possible))
                raise DataError(
                    f"{path}: event {first + wrong} at byte {start + (first + wrong) * step} is none: "
                    f"x, y, p, t = {', '.join(map(str, block[wrong]))}"
                )
            block = block[possible]
        x, y, p, t = block.T
        # Times were divided by 1000 when the files were made: round, do not cut.
        events[count : count + len(block)] = make(x, y, np.rint(t * 1000.0), p)
        count += len(block)
    return sound(events[:count], sensor_size, path, lambda event: start + event * step, repair=repair)


def _widened(rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Rows (n, 4) as float64, and which of them can be events."""
    # Whatever the numbers are: narrow ones would overflow, wide ones become infinite and are refused. So is
    # NaN, some kinds of which signal.
    with np.errstate(over="ignore", invalid="ignore"):
        wide = rows.astype(np.float64)
        x, y, p, t = wide.T
        pixels = (np.abs(wide[:, :2]) < 2**15).all(1) & (x == np.rint(x)) & (y == np.rint(y))
        return wide, pixels & ((p == 0) | (p == 1)) & (t >= 0) & (t < _LATEST)


def _read(path: Path) -> tuple[NDArray[Any], int, int]:
    """The array of a file, the byte at which its values begin, and the bytes from a row to the next."""
    data = read_all(path, _LIMIT)
    file = io.BytesIO(data)
    try:
        version = npy.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version}")
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        with warnings.catch_warnings():
            # numpy's advice on files of Python 2 and names of types is not for who reads somebody else's.
            warnings.simplefilter("ignore")
            shape, by_columns, dtype = read_header(file)
    except _BROKEN as error:
        raise DataError(f"{path}: no .npy file ({error!s:.200})") from error
    start = file.tell()
    if dtype.kind not in "iuf" or len(shape) != 2 or shape[1] != _COLUMNS:
        raise DataError(f"{path}: must hold numbers of shape (n, {_COLUMNS}), holds {dtype} of shape {shape}")
    # The header's claim is compared before anything is made of it.
    claimed = math.prod(shape) * dtype.itemsize
    if shape[0] < 0 or claimed != len(data) - start:
        raise DataError(f"{path}: says {claimed} bytes from byte {start} on, has {len(data) - start}")
    rows = np.frombuffer(data, dtype, offset=start).reshape(shape, order="F" if by_columns else "C")
    return rows, start, rows.strides[0]
