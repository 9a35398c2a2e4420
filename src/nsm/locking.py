"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """A block that one thread of one process is in at a time; others wait at its beginning.

    The system forgets who is in it with the process, so that nothing is left behind that could block. Where
    the file system knows no locks, nobody waits.

    Args:
        folder: an existing one; blocks of other folders do not wait for each other.

    Raises:
        OSError: if it cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
