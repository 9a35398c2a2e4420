"""Reading whole files of bounded size."""

from __future__ import annotations

import os
from pathlib import Path

from nsm.data.errors import DataError


def read_all(path: Path, limit: int) -> bytes:
    """The content of a file.

    Raises:
        DataError: if it cannot be read or has more than ``limit`` bytes.
    """
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if size > limit:
                raise DataError(f"{path}: has {size} bytes, more than {limit}")
            # What grows meanwhile is cut; a pipe, whose size is unknown, is taken for empty.
            data = file.read(size)
            while len(data) < size and (more := file.read(size - len(data))):
                data += more
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error
    return data
