"""Reading whole files of bounded size."""

from __future__ import annotations

import os
from pathlib import Path

from nsm.data.bounded import open_regular
from nsm.data.errors import DataError


def read_all(path: Path, limit: int) -> bytes:
    """The content of a file.

    Raises:
        DataError: if it cannot be read, is no regular file, or has more than ``limit`` bytes.
    """
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise DataError(f"{path}: has {size} bytes, more than {limit}")
            # What grows meanwhile is cut.
            data = file.read(size)
            while len(data) < size and (more := file.read(size - len(data))):
                data += more
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    return data
