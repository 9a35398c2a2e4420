"""Reading IDX files, the format of MNIST and its successors, without trusting them.

Layout: two zero bytes, the type of a value (8: unsigned byte), the number of dimensions, each dimension as a
big-endian 32-bit number, then the values. The shape is known beforehand: nothing that a file claims decides
how much is read or allocated.
"""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nsm.data.bounded import fill, opened
from nsm.data.errors import DataError

_UNSIGNED_BYTE = 8


def read_idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The values of an IDX file of unsigned bytes, gzip-compressed if its name ends in ``.gz``.

    Args:
        path: the file.
        shape: the dimensions that it must have.

    Raises:
        DataError: if it cannot be read, is not such a file, or is shorter or longer than ``shape`` says.
    """
    with opened(path, math.prod(shape), f"{_text(shape)} values") as file:
        return _parse(path, file, shape)


def _parse(path: Path, file: io.BufferedIOBase, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    magic = bytes((0, 0, _UNSIGNED_BYTE, len(shape)))
    header = file.read(4 + 4 * len(shape))
    if header[:4] != magic[: len(header)]:
        raise DataError(
            f"{path}: starts with bytes {header[:4].hex(' ')}, but an IDX file of unsigned bytes "
            f"in {len(shape)} dimensions starts with {magic.hex(' ')}"
        )
    if len(header) < 4 + 4 * len(shape):
        raise DataError(f"{path}: ends after {len(header)} bytes, within its header")
    found = tuple(int(n) for n in np.frombuffer(header, ">u4", offset=4))
    if found != shape:
        raise DataError(f"{path}: holds {_text(found)} values by its header, must hold {_text(shape)}")
    values = np.empty(shape, dtype=np.uint8)
    done = fill(file, values.data.cast("B"))
    if done < values.size:
        raise DataError(f"{path}: ends after {done} of {values.size} values")
    # Reading on also lets gzip compare its checksum.
    if file.read(1):
        raise DataError(f"{path}: goes on after its {values.size} values")
    return values


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
