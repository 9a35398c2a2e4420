"""Where data files lie on this machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from nsm.data.sets import describe
from nsm.data.sources import EventSource, Source

VARIABLE = "NSM_DATA"


class Located(NamedTuple):
    """Which files of a data set are there.

    Attributes:
        found: path by name without ``.gz``.
        missing: names without ``.gz``.
    """

    found: dict[str, Path]
    missing: tuple[str, ...]


def data_root(root: str | Path | None = None) -> Path:
    """The data folder: ``root``, else what ``NSM_DATA`` names, else ``nsm`` among the user's caches.

    Raises:
        ValueError: if it is no path, or begins with the home of a user who is not known.
    """
    chosen = root or os.environ.get(VARIABLE)
    if chosen:
        name = "root" if root else VARIABLE
        if not isinstance(chosen, (str, Path)):
            raise ValueError(f"{name} must be a path, got {chosen!r:.80}")
        try:
            return Path(chosen).expanduser()
        except RuntimeError as error:
            message = f"{name} must begin with the home of a known user or none, got {str(chosen)!r:.80}"
            raise ValueError(message) from error
    import pooch

    return Path(pooch.os_cache("nsm"))


def locate(source: Source, root: Path) -> Located:
    """The files of ``source`` under the data folder ``root``; a plain one goes before its ``.gz`` form, and a
    folder of recordings counts if there is a file in it or below.
    """
    found = {}
    for name in source.names:
        plain = root / source.folder / name
        for path in (plain, plain.with_name(f"{name}.gz")):
            if path.is_file() or (isinstance(source, EventSource) and _holds_files(path)):
                found[name] = path
                break
    return Located(found, tuple(name for name in source.names if name not in found))


def _holds_files(folder: Path) -> bool:
    return any(path.is_file() for path in folder.rglob("*"))


def is_present(name: str, root: str | Path | None = None) -> bool:
    """Whether all files of data set ``name`` are in the data folder; nothing is opened.

    Raises:
        ValueError: if there is no set of this name.
    """
    source = describe(name).source
    return source is None or not locate(source, data_root(root)).missing
