"""Writing files so that a reader never meets half of one."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` under a temporary name beside ``path``, flush it to disk and rename; a missing folder is
    made. Of a link, what it points to is written.

    Raises:
        OSError: if that is not possible, or would put a file in the place of a device or a pipe; naming
            ``path``.
    """
    target = Path(os.path.realpath(path))
    temporary = target.parent / f".{target.name}.{os.getpid()}-{threading.get_ident()}.tmp"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(temporary, target, data)
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error.strerror or error})") from error


def _write(temporary: Path, target: Path, data: bytes) -> None:
    if target.exists() and not target.is_file() and not target.is_dir():
        raise OSError("is no regular file")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
