"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` under a temporary name beside ``path``, flush it to disk and rename; a missing folder is
    made.

    Raises:
        OSError: if that is not possible; naming ``path``.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(temporary, path, data)
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror or error})") from error


def _write(temporary: Path, path: Path, data: bytes) -> None:
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
