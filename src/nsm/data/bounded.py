"""Opening files whose length is known beforehand, so that nothing they claim decides how much is read."""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nsm.data.errors import DataError

_SLACK = 4096  # for headers


def open_regular(path: Path) -> io.FileIO:
    """A file for reading; nothing that would be waited for, as a pipe or a terminal would.

    Raises:
        OSError: if it cannot be opened, or is no file of that kind.
    """
    if "\0" in str(path):  # Python refuses it, but not as an OSError
        raise OSError(errno.EINVAL, "its name holds a null byte", str(path))
    file = io.FileIO(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "no regular file", str(path))
    return file


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
        with io.BufferedReader(open_regular(path)) as file:
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
