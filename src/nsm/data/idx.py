"""Reading IDX files, the format of MNIST and its successors, without trusting them.

Layout: two zero bytes, the type of a value (8: unsigned byte), the number of dimensions, each dimension as a
big-endian 32-bit number, then the values. The shape is known beforehand: nothing that a file claims decides
how much is read or allocated.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nsm.data.errors import DataError

_UNSIGNED_BYTE = 8
_SLACK = 4096  # for headers


def read_idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The values of an IDX file of unsigned bytes, gzip-compressed if its name ends in ``.gz``.

    Args:
        path: the file.
        shape: the dimensions that it must have.

    Raises:
        DataError: if it cannot be read, is not such a file, or is shorter or longer than ``shape`` says.
    """
    try:
        with path.open("rb") as file:
            # No gzip file of the right values comes near: deflate adds less than a thousandth at worst.
            limit = 2 * math.prod(shape) + _SLACK
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise DataError(f"{path}: has {size} bytes, too many for {_text(shape)} values")
            if path.suffix != ".gz":
                return _parse(path, file, shape)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _parse(path, unpacked, shape)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged, or no gzip file ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


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
    done = _fill(file, values.data.cast("B"))
    if done < values.size:
        raise DataError(f"{path}: ends after {done} of {values.size} values")
    # Reading on also lets gzip compare its checksum.
    if file.read(1):
        raise DataError(f"{path}: goes on after its {values.size} values")
    return values


def _fill(file: io.BufferedIOBase, buffer: memoryview) -> int:
    done = 0
    while done < len(buffer):
        read = file.readinto(buffer[done:])
        if not read:
            break
        done += read
    return done


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
