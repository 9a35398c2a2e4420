"""Opening files whose length is known beforehand, so that nothing they claim decides how much is read."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nsm.data.errors import DataError

_SLACK = 4096  # for headers


@contextmanager
def opened(path: Path, size: int, what: str) -> Iterator[io.BufferedIOBase]:
    """A file for reading, unpacked if its name ends in ``.gz``.

    Args:
        path: the file.
        size: bytes that it holds when unpacked, but for headers.
        what: what these bytes are, in words.

    Raises:
        DataError: if it cannot be read, is damaged, or is far too long to hold ``size`` bytes; inside the
            block as well.
    """
    try:
        with path.open("rb") as file:
            # No gzip file of the right values comes near: deflate adds less than a thousandth at worst.
            found = os.fstat(file.fileno()).st_size
            if found > 2 * size + _SLACK:
                raise DataError(f"{path}: has {found} bytes, too many for {what}")
            if path.suffix != ".gz":
                yield file
                return
            with gzip.GzipFile(fileobj=file) as unpacked:
                yield unpacked
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: damaged, or no gzip file ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def fill(file: io.BufferedIOBase, buffer: memoryview) -> int:
    """Read into ``buffer`` until it is full or the file ends; the number of bytes read."""
    done = 0
    while done < len(buffer):
        read = file.readinto(buffer[done:])
        if not read:
            break
        done += read
    return done
