"""Bringing the files of a data set into the data folder."""

from __future__ import annotations

import logging
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from nsm.data.errors import DataError
from nsm.data.folder import VARIABLE, data_root, locate
from nsm.data.sets import SetInfo, describe
from nsm.data.sources import Download, SimulatedEventSource, Source
from nsm.locking import alone


def fetch(name: str, root: str | Path | None = None) -> Path:
    """Download the files of a data set that are not in the data folder yet.

    Each comes from the first mirror that has it, under a temporary name until its checksum is right: what was
    broken off leaves nothing in its place and is fetched again by the next call, what was finished is kept.
    Of processes that fetch the same set at a time, one does it and the others wait. A bar shows the progress
    on a terminal.

    Args:
        name: one of :data:`SETS`.
        root: data folder; None for the one that ``NSM_DATA`` names, else a folder among the user's caches.

    Returns:
        The folder that holds the files; the data folder itself if the set comes with an installed package.

    Raises:
        ValueError: if there is no set of this name.
        DataError: if a file cannot be had or written: the message says which to put where, and from where.
            Event recordings are never downloaded; simulated ones are made.
    """
    info, top = describe(name), data_root(root)
    if info.source is None:
        return top
    folder = top / info.source.folder
    missing = locate(info.source, top).missing
    if not missing:
        return folder
    simulated = isinstance(info.source, SimulatedEventSource)
    if not simulated and not info.source.downloads:
        raise DataError(_by_hand(info.title, info.source, folder, missing))
    try:
        if simulated:
            _simulate(folder)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            with alone(folder):
                # Another process may have brought them meanwhile.
                _fetch(info, info.source, folder, locate(info.source, top).missing)
    except OSError as error:
        problem = error.strerror or error
        raise DataError(f"{error.filename or folder}: cannot be written ({problem})") from error
    return folder


def _simulate(folder: Path) -> None:
    from nsm.data.simulated.gestures import trials, write_gestures

    with _progress(MofNCompleteColumn()) as progress:
        task = progress.add_task("simulating gestures")
        write_gestures(
            folder,
            trials(),
            seed=0,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )


def _fetch(info: SetInfo, source: Source, folder: Path, missing: Sequence[str]) -> None:
    from nsm.data.download import download

    wanted = [file for file in source.downloads if not set(missing).isdisjoint(file.holds)]
    with _progress(DownloadColumn()) as progress:
        for place, file in enumerate(wanted):
            path, task = folder / file.name, progress.add_task(file.name, total=file.size)
            kept = path.exists()
            problems = download(file, source.mirrors, folder, partial(_show, progress, task))
            if problems:
                raise DataError(_advice(info.title, source, folder, wanted[place:], problems))
            unpack = next((use for end, use in _ARCHIVES.items() if file.name.endswith(end)), None)
            if unpack is not None:
                unpack(path, [name for name in file.holds if name in missing])
                if not kept:
                    path.unlink()


def _show(progress: Progress, task: TaskID, done: int) -> None:
    progress.update(task, completed=done)


def _unzip(archive: Path, names: Sequence[str]) -> None:
    """Take IDX files out of EMNIST's archive, whose checksum was right."""
    with zipfile.ZipFile(archive) as packed:
        for name in names:
            with packed.open(f"gzip/{name}.gz") as member:
                _put(archive.with_name(f"{name}.gz"), member)


def _untar(archive: Path, names: Sequence[str]) -> None:
    """Take batches out of CIFAR's archive, whose checksum was right."""
    with tarfile.open(archive) as packed:
        for entry in packed:
            name = Path(entry.name).name
            member = packed.extractfile(entry) if name in names else None
            if member is not None:
                with member:
                    _put(archive.with_name(name), member)


_ARCHIVES: dict[str, Callable[[Path, Sequence[str]], None]] = {".zip": _unzip, ".tar.gz": _untar}


def _put(path: Path, member: IO[bytes]) -> None:
    """A file out of an archive under its own name once it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            shutil.copyfileobj(member, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _advice(
    title: str, source: Source, folder: Path, wanted: Sequence[Download], problems: Sequence[str]
) -> str:
    names = ", ".join(file.name for file in wanted)
    places = " or ".join(mirror.replace("{file}", "<file>") for mirror in source.mirrors)
    return (
        f"{title}: {wanted[0].name} cannot be downloaded ({'; '.join(problems)}). "
        f"Put {names} into {folder}, from {places}, "
        f"or let {VARIABLE} name a folder that holds {source.folder}"
    )


def _by_hand(title: str, source: Source, folder: Path, missing: Sequence[str]) -> str:
    return (
        f"{title} has to be fetched by hand, from {' and '.join(source.mirrors)}: put {', '.join(missing)} "
        f"into {folder}, or let {VARIABLE} name a folder that holds {source.folder}"
    )


@contextmanager
def _progress(amount: ProgressColumn) -> Iterator[Progress]:
    """A bar on a terminal, nothing elsewhere; pooch's own messages are held back meanwhile."""
    import pooch

    console = Console(stderr=True)
    console.quiet = not console.is_terminal
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)
    columns = (TextColumn("{task.description}"), BarColumn(), amount, TimeRemainingColumn())
    try:
        with Progress(*columns, console=console, disable=console.quiet) as progress:
            yield progress
    finally:
        logger.setLevel(level)
