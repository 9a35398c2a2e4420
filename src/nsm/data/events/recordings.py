"""Data sets of event recordings: read one at a time, in the layout and split of their official release."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nsm.data.classes import DIGITS, GESTURES
from nsm.data.errors import DataError
from nsm.data.events.aedat import DVS128, read_aedat
from nsm.data.events.array import Events, SensorSize
from nsm.data.events.labels import read_labels
from nsm.data.events.nmnist import SENSOR_SIZE, read_nmnist
from nsm.data.events.precut import read_precut
from nsm.data.events.reading import read_all
from nsm.data.folder import data_root

Split = Literal["train", "test"]
SPLITS: tuple[Split, ...] = ("train", "test")
Transform = Callable[[Events], Any]
_Reader = Callable[..., Events]

_LAST_TRAINING_USER, _LAST_USER = 23, 29
_TRIAL = re.compile(r"user(\d{1,2})_([a-z]+(?:_[a-z]+)?)")
_LIST_LIMIT = 2**20


class Item(NamedTuple):
    """One recording of a set.

    Attributes:
        path: the file that holds it.
        target: number of its class.
        user: who moved, from 1; None where the set does not say.
        lighting: under which light; None where the set does not say.
        start: its first microsecond in the file's clock, and
        end: the one after its last; None for the whole file.
    """

    path: Path
    target: int
    user: int | None = None
    lighting: str | None = None
    start: int = 0
    end: int | None = None


@dataclass(frozen=True)
class Recordings(Sequence[tuple[Any, int]]):
    """Labelled recordings on disk; ``recordings[i]`` is the pair of its events and its target.

    Attributes:
        items: where each is.
        classes: what the classes are called, in order of their numbers.
        sensor_size: (width, height, polarities).
        name: the data set that they are from.
        read: reads a file.
        repair: whether broken recordings are repaired or refused.
        transform: applied to the events of each recording; a transform of tonic's will do. None for none.
    """

    items: tuple[Item, ...]
    classes: tuple[str, ...]
    sensor_size: SensorSize
    name: str
    read: _Reader
    repair: bool = False
    transform: Transform | None = None

    @property
    def targets(self) -> NDArray[np.int64]:
        """Class numbers, shape (n,)."""
        return np.array([item.target for item in self.items], np.int64)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return replace(self, items=self.items[index])
        item = self.items[index]
        return self._transformed(self._cut(self._whole(item.path), item)), item.target

    def __iter__(self) -> Iterator[tuple[Any, int]]:
        """All pairs in order; a file that holds several recordings is read once."""
        path, whole = None, None
        for item in self.items:
            if whole is None or item.path != path:
                path, whole = item.path, self._whole(item.path)
            yield self._transformed(self._cut(whole, item)), item.target

    def with_transform(self, transform: Transform | None) -> Recordings:
        """The same recordings behind another transform."""
        return replace(self, transform=transform)

    def _whole(self, path: Path) -> Events:
        return self.read(path, self.sensor_size, repair=self.repair)

    def _cut(self, events: Events, item: Item) -> Events:
        if item.end is None:
            return events
        first, last = np.searchsorted(events["t"], (item.start, item.end))
        if first == last and not self.repair:
            raise DataError(f"{item.path}: holds no event from {item.start} to {item.end} us, as labelled")
        part = events[first:last].copy()
        part["t"] -= item.start
        return part

    def _transformed(self, events: Events) -> Any:
        return events if self.transform is None else self.transform(events)


def nmnist(
    split: Split,
    root: str | Path | None = None,
    *,
    repair: bool = False,
    transform: Transform | None = None,
    folder: str = "NMNIST",
) -> Recordings:
    """N-MNIST as released: ``NMNIST/{Train,Test}/<digit>/<number>.bin``; fewer files are a subset.

    Args:
        split: ``"train"`` or ``"test"``.
        root: data folder; None for the one that ``NSM_DATA`` names, else a folder among the user's caches.
        repair: repair broken recordings, see :func:`read_nmnist`, instead of refusing them.
        transform: applied to the events of each recording.
        folder: the set's folder in the data folder.

    Returns:
        The recordings by digit and number.

    Raises:
        ValueError: for an unknown split.
        DataError: if there is no such folder or nothing in it.
    """
    top = data_root(root) / folder / _check_split(split).title()
    items = [
        Item(path, target) for target, digit in enumerate(DIGITS) for path in _numbered(top / digit, ".bin")
    ]
    if not items:
        raise DataError(f"{top}: holds no recording; N-MNIST lies there as <digit>/<number>.bin")
    return Recordings(tuple(items), DIGITS, SENSOR_SIZE, "nmnist", read_nmnist, repair, transform)


def dvs_gesture(
    split: Split,
    root: str | Path | None = None,
    *,
    repair: bool = False,
    transform: Transform | None = None,
    folder: str = "DvsGesture",
) -> Recordings:
    """DVS Gestures as released (Amir et al., CVPR 2017): ``DvsGesture/trials_to_{train,test}.txt``, a
    recording ``userNN_<lighting>.aedat`` for each line and its ``userNN_<lighting>_labels.csv``.

    Users 1 to 23 are for training, 24 to 29 for the test. Times count from the start of each gesture.

    Args:
        split: ``"train"`` or ``"test"``.
        root: data folder; None for the one that ``NSM_DATA`` names, else a folder among the user's caches.
        repair: repair broken recordings, see :func:`read_aedat`, instead of refusing them.
        transform: applied to the events of each gesture.
        folder: the set's folder in the data folder.

    Returns:
        The gestures in the order of the list and of the label tables.

    Raises:
        ValueError: for an unknown split.
        DataError: if a file is missing or damaged, or a user is in the wrong split.
    """
    top = data_root(root) / folder
    trials = top / f"trials_to_{_check_split(split)}.txt"
    try:
        lines = read_all(trials, _LIST_LIMIT).decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{trials}: byte {error.start} is no ASCII text") from error
    items: list[Item] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        name = line.strip()
        found = _TRIAL.fullmatch(name.removesuffix(".aedat")) if name.endswith(".aedat") else None
        if found is None:
            raise DataError(f"{trials}: line {number} names no recording userNN_<light>.aedat: {name!r:.80}")
        user = _check_user(int(found[1]), split, f"{trials}: line {number}")
        table = top / f"{found[0]}_labels.csv"
        labels = read_labels(table, len(GESTURES))
        path = top / name
        if not path.is_file():
            raise DataError(f"{path}: is no file, but line {number} of {trials.name} names it")
        items += [Item(path, label.target, user, found[2], label.start, label.end) for label in labels]
    if not items:
        raise DataError(f"{trials}: names no recording")
    return Recordings(tuple(items), GESTURES, DVS128, "dvsgesture", read_aedat, repair, transform)


def dvs_gesture_precut(
    split: Split,
    root: str | Path | None = None,
    *,
    repair: bool = False,
    transform: Transform | None = None,
    folder: str = "DVSGesture",
) -> Recordings:
    """DVS Gestures as tonic distributes them:
    ``DVSGesture/ibmGesture{Train,Test}/userNN_<lighting>/<class>.npy``.

    Arguments and errors as for :func:`dvs_gesture`; the files hold the gestures alone.
    """
    top = data_root(root) / folder / f"ibmGesture{_check_split(split).title()}"
    items: list[Item] = []
    for trial in _folders(top):
        found = _TRIAL.fullmatch(trial.name)
        if found is None:
            raise DataError(f"{trial}: is no folder userNN_<light>")
        user = _check_user(int(found[1]), split, str(trial))
        for path in _numbered(trial, ".npy"):
            if int(path.stem) >= len(GESTURES):
                raise DataError(f"{path}: class in the name must be in [0, {len(GESTURES) - 1}]")
            items.append(Item(path, int(path.stem), user, found[2]))
    if not items:
        raise DataError(f"{top}: holds no recording; they lie there as userNN_<light>/<class>.npy")
    return Recordings(tuple(items), GESTURES, DVS128, "dvsgesture", read_precut, repair, transform)


def _check_split(split: str) -> str:
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    return split


def _check_user(user: int, split: str, place: str) -> int:
    first, last = (1, _LAST_TRAINING_USER) if split == "train" else (_LAST_TRAINING_USER + 1, _LAST_USER)
    if not first <= user <= last:
        raise DataError(f"{place}: user {user} is none of users {first} to {last}, who are for {split}")
    return user


def _folders(top: Path) -> list[Path]:
    return sorted(path for path in top.iterdir() if path.is_dir()) if top.is_dir() else []


def _is_number(stem: str) -> bool:
    return stem.isascii() and stem.isdigit() and len(stem) < 10


def _numbered(folder: Path, suffix: str) -> list[Path]:
    """Files whose name is a number, by number; others are not looked at."""
    if not folder.is_dir():
        return []
    paths = [p for p in folder.iterdir() if p.suffix == suffix and _is_number(p.stem)]
    return sorted(paths, key=lambda path: (int(path.stem), path.name))
