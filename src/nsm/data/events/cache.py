"""Arrays on disk that are made once: named by a hash of the data and of what was done to it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from nsm.data.bounded import open_regular
from nsm.data.errors import DataError
from nsm.data.events.recordings import Recordings
from nsm.files import write_atomically

Arrays = dict[str, NDArray[Any]]
_FORMAT = 2  # of the files and of what is computed; raise it when either changes


def fingerprint(recordings: Recordings) -> str:
    """SHA-256 of the files of ``recordings``, their targets, users and cuts; not of where they lie.

    Raises:
        DataError: naming the file that cannot be read.
    """
    digest = hashlib.sha256(json.dumps([recordings.name, recordings.repair]).encode())
    known: dict[Path, str] = {}
    for item in recordings.items:
        if item.path not in known:
            known[item.path] = _of_file(item.path)
        described = (known[item.path], item.target, item.user, item.lighting, item.start, item.end)
        digest.update(json.dumps(described).encode())
    return digest.hexdigest()


def _of_file(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def cached(folder: Path, key: Mapping[str, Any], make: Callable[[], Arrays]) -> Arrays:
    """What ``make`` gives, from a file of an earlier call with an equal key where there is one.

    A file that is damaged, be it in one bit of its arrays, is made anew. A folder that cannot be written is
    done without.

    Args:
        folder: where the files lie; made if it does not exist.
        key: JSON-able; everything that the arrays depend on.
        make: gives named arrays.
    """
    text = json.dumps({"format": _FORMAT, **key}, sort_keys=True)
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            about = (file.metadata() or {}).get("key", "")
            if about.endswith(text):
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
                if about == _about(found, text):
                    return found
    except (OSError, safetensors.SafetensorError):
        pass
    arrays = make()
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, safetensors.numpy.save(contiguous, {"key": _about(contiguous, text)}))
    except OSError:
        pass  # a data folder may be read-only
    return arrays


def _about(arrays: Arrays, text: str) -> str:
    """SHA-256 of named arrays and then ``text``, in one entry: several have no fixed order in the file."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.data)
    return f"{digest.hexdigest()} {text}"


def packed(images: NDArray[np.uint8]) -> Arrays:
    """Images of zeros and ones, eight to a byte."""
    return {"bits": np.packbits(images), "shape": np.array(images.shape, np.int64)}


def unpacked(arrays: Arrays) -> NDArray[np.uint8]:
    """The images of :func:`packed`."""
    shape = tuple(arrays["shape"].tolist())
    return np.unpackbits(arrays["bits"], count=math.prod(shape)).reshape(shape)
