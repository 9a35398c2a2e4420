"""One process at a time in a folder."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """A block that one thread of one process is in at a time; others wait at its beginning, or are refused.

    The system forgets who is in it with the process, so that nothing is left behind that could block. Where
    the file system knows no locks, nobody waits or is refused.

    Args:
        folder: an existing one; blocks of other folders do not wait for each other.
        wait: whether to wait.

    Raises:
        BlockingIOError: if somebody is in it and ``wait`` is False.
        OSError: if it cannot be opened.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)
