"""One file from the first mirror that has it, in its place whole and right or not at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import pooch
import requests

from nsm.data.sources import Download

_TIMEOUT = (10.0, 30.0)  # seconds to connect, and between two pieces of an answer
_CHUNK = 2**16


class _OversizedError(ValueError):
    """A server sends more than the file is long."""


def download(
    wanted: Download, mirrors: Sequence[str], folder: Path, show: Callable[[int], None]
) -> list[str]:
    """Download a file to a temporary name and rename it once its checksum is right.

    Args:
        wanted: the file; one that is there with another checksum is replaced.
        mirrors: addresses to try, in this order; ``{file}`` stands for the name.
        folder: where the file goes; it exists.
        show: called with the number of bytes received from the current mirror so far.

    Returns:
        What went wrong with each mirror if none gave the file, else nothing.

    Raises:
        OSError: if the file cannot be written.
    """
    http = pooch.HTTPDownloader(chunk_size=_CHUNK, timeout=_TIMEOUT, headers={"Accept-Encoding": "identity"})

    def bounded(url: str, output_file: str, _: object) -> None:
        with Path(output_file).open("wb") as file:
            http(url, _Sink(file, wanted.size, show), None)

    problems = []
    for mirror in mirrors:
        url = mirror.replace("{file}", wanted.name)
        try:
            pooch.retrieve(url, f"sha256:{wanted.sha256}", wanted.name, folder, downloader=bounded)
        except (requests.RequestException, ValueError) as error:
            problems.append(f"{urlsplit(url).hostname}: {_reason(error)}")
        else:
            # A temporary file is its owner's alone; a data folder may have several users.
            (folder / wanted.name).chmod(0o644)
            return []
    return problems


class _Sink:
    """A file that takes up to ``size`` bytes and shows how many it has."""

    def __init__(self, file: BinaryIO, size: int, show: Callable[[int], None]) -> None:
        self._file, self._size, self._show = file, size, show
        self._done = 0
        self.flush = file.flush

    def write(self, piece: bytes) -> None:
        self._done += len(piece)
        if self._done > self._size:
            raise _OversizedError
        self._file.write(piece)
        self._show(self._done)


def _reason(error: Exception) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    if isinstance(error, requests.RequestException):
        return f"broken off ({type(error).__name__})"
    return "longer than the file" if isinstance(error, _OversizedError) else "wrong checksum"
