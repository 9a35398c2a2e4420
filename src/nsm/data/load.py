"""From a data set's name to its images, divided the same way at every call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nsm import random
from nsm.data.arguments import flag, whole
from nsm.data.batches import read_batch
from nsm.data.errors import DataError
from nsm.data.fetch import fetch
from nsm.data.folder import data_root, is_present, locate
from nsm.data.idx import read_idx
from nsm.data.images import ImageSet, Splits
from nsm.data.sets import SetInfo, describe
from nsm.data.sources import BatchSource, EventSource, IdxPair, IdxSource, SimulatedSource

if TYPE_CHECKING:
    from nsm.data.events import EventAugmentation, Recordings, Split, TimeFrames
    from nsm.data.events.images import Framed


def load(
    name: str,
    root: str | Path | None = None,
    *,
    validation: int | None = None,
    fold: tuple[int, int] | None = None,
    unrecorded: bool = False,
    simulated: int | None = None,
    changes: EventAugmentation | None = None,
    copies: int = 4,
    repair: bool = False,
) -> Splits:
    """A data set, read from the data folder; files that are missing are downloaded into it first.

    The division is a fixed one, whatever the seed of a run, and a larger validation set contains the smaller.
    Recordings of event cameras become the images that the published networks see; their validation set is
    made of whole users where the set knows them, and may be a little larger than asked for. Recordings of
    ``"nmnist-simulated"`` and ``"dvsgesture-simulated"`` are simulated at the first call, which takes
    minutes, and so do copies; those of ``"digits-simulated"``, from the bundled digits, take seconds.

    Args:
        name: one of :data:`SETS`.
        root: data folder; None for the one that ``NSM_DATA`` names, else a folder among the user's caches.
        validation: images held out of the training set, in [0, number of training images]; None for the
            set's own number, or the same share of a subset.
        fold: (k, n) to hold out the k-th of n equal parts of the training set instead, 0 <= k < n.
        unrecorded: leave out the training images whose recordings are in the folder of N-MNIST, for
            ``"mnist"`` and ``"nmnist-simulated"``: what is learnt then says nothing of these recordings.
        simulated: how many recordings of ``"nmnist-simulated"`` are made for training, in [1, 60,000], those
            of the first images, and as many of the test images in proportion; None for all.
        changes: what is done to the events of the training set's copies; None for no copies.
        copies: how many there are of each recording, >= 1.
        repair: for files of event recordings, repair broken ones, see :mod:`nsm.data.events`, instead of
            refusing them.

    Raises:
        ValueError: if there is no set of this name, not that many images or parts, or the set does not have
            what is asked for.
        DataError: if a file is damaged, or missing and cannot be downloaded.
    """
    info = describe(name)
    validation = _checked_validation(validation, info.train, name)
    fold = _checked_fold(fold, validation)
    if flag("unrecorded", unrecorded) and name not in _RECORDED:
        raise ValueError(f"unrecorded is for {' and '.join(_RECORDED)} alone, not for {name}")
    if changes is not None and not info.recorded:
        raise ValueError(f"changes of events need recordings, but {name} holds images")
    if simulated is not None:
        if not isinstance(info.source, SimulatedSource):
            raise ValueError(f"simulated is for nmnist-simulated alone, not for {name}")
        simulated = whole("simulated", simulated, 1, info.train)
    if flag("repair", repair) and not isinstance(info.source, EventSource):
        raise ValueError(f"repair is for files of event recordings, but {name} holds none")
    copies = whole("copies", copies, 1, random.MAX_INDEX + 1)
    wanted = _Wanted(name, root, changes, copies, simulated, repair)
    learnt, test, groups = _parts(info, wanted)
    if unrecorded:
        learnt = learnt.subset(_unrecorded(len(learnt), root))
    _checked_validation(validation, len(learnt), name)
    if fold is not None:
        return Splits(*_held_out(learnt, _fold(learnt, fold, groups)), test)
    held_out = info.validation * len(learnt) // info.train if validation is None else validation
    return Splits(*_divide(learnt, held_out, "validation", groups), test)


_SIMULATED_DIGITS = "digits-simulated"
_RECORDED = ("mnist", "nmnist-simulated")  # their training images are those of N-MNIST, in its order


def _unrecorded(count: int, root: str | Path | None) -> Tensor:
    """Numbers of the images that no file of N-MNIST's training set is named after; file 00001 is image 0."""
    from nsm.data.events import nmnist

    items = nmnist("train", root).items if is_present("nmnist", root) else ()
    recorded = {int(item.path.stem) - 1 for item in items}
    return torch.tensor([number for number in range(count) if number not in recorded], dtype=torch.int64)


def _checked_fold(fold: tuple[int, int] | None, validation: int | None) -> tuple[int, int] | None:
    if fold is None:
        return None
    if validation is not None:
        raise ValueError(f"validation must be None where a fold is held out, got {validation}")
    try:
        part, parts = fold
        parts = whole("n", parts, 2)
        return whole("k", part, 0, parts - 1), parts
    except (TypeError, ValueError) as error:
        raise ValueError(f"fold must be (k, n) with n >= 2 and 0 <= k < n, got {fold!r:.80}") from error


def _fold(images: ImageSet, fold: tuple[int, int], groups: Tensor | None) -> Tensor:
    """Which images are in the part, bool (N,); whole groups where there are groups."""
    count = len(images)
    members = torch.arange(count) if groups is None else torch.unique(groups, return_inverse=True)[1]
    order = random.permutation(random.derive(0, "data", images.name, "fold"), 0, int(members.max()) + 1)
    number, parts = fold
    if parts > len(order):
        raise ValueError(f"fold must have at most {len(order)} parts of {images.name}, got {parts}")
    return torch.isin(members, order.tensor_split(parts)[number])


def _held_out(images: ImageSet, held: Tensor) -> tuple[ImageSet, ImageSet]:
    return images.subset((~held).nonzero()[:, 0]), images.subset(held.nonzero()[:, 0])


def _checked_validation(validation: int | None, train: int, name: str) -> int | None:
    return None if validation is None else whole("validation", validation, 0, train, f" for {name}")


class _Parts(NamedTuple):
    """What is read of a set; images of one group must stay together."""

    learnt: ImageSet
    test: ImageSet
    groups: Tensor | None = None


class _Wanted(NamedTuple):
    """What is asked for, beyond the set itself; as for :func:`load`."""

    name: str
    root: str | Path | None
    changes: EventAugmentation | None
    copies: int
    simulated: int | None
    repair: bool


def _parts(info: SetInfo, wanted: _Wanted) -> _Parts:
    if info.source is None:
        bundled = _bundled_digits(info)
        return _simulated(bundled, wanted) if wanted.name == _SIMULATED_DIGITS else bundled
    if isinstance(info.source, EventSource):
        return _framed(wanted)
    parts = _read(info, wanted.name, wanted.root)
    return _simulated(parts, wanted) if isinstance(info.source, SimulatedSource) else parts


def _divide(
    images: ImageSet, count: int, part: str, groups: Tensor | None = None
) -> tuple[ImageSet, ImageSet]:
    """All but ``count`` images, and those, both in the order in which they came; whole groups where there are
    groups, as many as hold at least ``count`` images.
    """
    seed = random.derive(0, "data", images.name, part)
    if groups is None:
        order = random.permutation(seed, 0, len(images))
        held_out, rest = order[:count].sort().values, order[count:].sort().values
        return images.subset(rest), images.subset(held_out)
    members = torch.unique(groups, return_inverse=True)[1]
    order = random.permutation(seed, 0, int(members.max()) + 1)
    sizes = members.bincount()[order].cumsum(0)
    chosen = order[: int((sizes < count).sum()) + 1] if count else order[:0]
    return _held_out(images, torch.isin(members, chosen))


def event_images(name: str, split: Split, root: str | Path | None = None, *, repair: bool = False) -> Framed:
    """Recordings as the published networks see them, and which image is of which recording.

    What is made of the files is kept in the data folder.

    Args:
        name: a set of event recordings.
        split: ``"train"``, before validation images are held out, or ``"test"``.
        root: data folder, see :func:`load`.
        repair: repair broken recordings instead of refusing them.

    Raises:
        ValueError: if there is no such set, or no such split of it.
        DataError: if a file is damaged or missing.
    """
    from nsm.data.events.images import as_images

    recordings, frames, windows = _recorded(name, split, root, repair=repair)
    return as_images(recordings, frames, data_root(root) / "cache", windows=windows)


def _recorded(
    name: str, split: Split, root: str | Path | None, *, repair: bool
) -> tuple[Recordings, TimeFrames, int]:
    """Recordings, the frames in which networks see them, and how many windows of them one recording has."""
    from nsm.data import events
    from nsm.data.events.representations import GESTURE_FRAMES, GESTURE_WINDOWS, NMNIST_FRAMES

    source = describe(name).source
    if not isinstance(source, EventSource):
        raise ValueError(f"name must be that of a set of event recordings, got {name!r}")
    fetch(name, root)
    sets = {
        "nmnist": events.nmnist,
        "dvsgesture": events.dvs_gesture,
        "dvsgesture-precut": events.dvs_gesture_precut,
    }
    frames, windows = (NMNIST_FRAMES, 1) if source.layout == "nmnist" else (GESTURE_FRAMES, GESTURE_WINDOWS)
    recordings = sets[source.layout](split, root, repair=repair, folder=source.folder)
    return replace(recordings, name=name), frames, windows


def _framed(wanted: _Wanted) -> _Parts:
    from nsm.data.events.images import copies_of

    name, root, changes, copies, _, repair = wanted
    learnt, test = (event_images(name, split, root, repair=repair) for split in ("train", "test"))
    images = learnt.images
    if changes is not None:
        recordings, frames, windows = _recorded(name, "train", root, repair=repair)
        cache = data_root(root) / "cache"
        changed = copies_of(recordings, frames, changes, cache, windows=windows, copies=copies)
        images = replace(images, copies=changed)
    return _Parts(images, test.images, learnt.groups)


def _simulated(parts: _Parts, wanted: _Wanted) -> _Parts:
    """A simulated recording of each image, numbered through, test images last."""
    from nsm.data.simulated.images import as_recordings, copies_of

    name, root, changes, copies, count, _ = wanted
    folder, images, seen = data_root(root) / "cache", parts.learnt, parts.test
    if count is not None:
        images = images.subset(torch.arange(count))
        seen = seen.subset(torch.arange(-(-count * len(seen) // len(parts.learnt))))
    learnt = as_recordings(images, name, folder)
    if changes is not None:
        learnt = replace(learnt, copies=copies_of(images, changes, folder, copies=copies))
    return _Parts(learnt, as_recordings(seen, name, folder, first=len(parts.learnt)))


def _bundled_digits(info: SetInfo) -> _Parts:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(np.rint(bunch.images * (255.0 / 16.0)).astype(np.uint8))
    targets = torch.from_numpy(bunch.target.astype(np.int64))
    return _Parts(*_divide(ImageSet(images[:, None], targets, info.classes, "digits"), info.test, "test"))


def _read(info: SetInfo, name: str, root: str | Path | None) -> _Parts:
    fetch(name, root)
    source = info.source
    assert source is not None
    files = locate(source, data_root(root)).found
    try:
        if isinstance(source, IdxSource):
            pairs = (source.train, source.test)
            learnt, test = (_from_idx(info, source, pair, name, files) for pair in pairs)
        else:
            assert isinstance(source, BatchSource)
            parts = ((source.train, info.train), (source.test, info.test))
            learnt, test = (_from_batches(info, source, part, count, name, files) for part, count in parts)
    except DataError as error:
        raise DataError(f"{error}; remove the file, and the right one is downloaded in its place") from error
    return _Parts(learnt, test)


def _from_idx(info: SetInfo, source: IdxSource, pair: IdxPair, name: str, files: dict[str, Path]) -> ImageSet:
    path = files[pair.labels.name]
    labels = read_idx(path, pair.labels.shape)
    _check_labels(path, labels, source.first_label, len(info.classes))
    images = torch.from_numpy(read_idx(files[pair.images.name], pair.images.shape))
    images = images.mT.contiguous() if source.transposed else images
    targets = torch.from_numpy(labels.astype(np.int64) - source.first_label)
    return ImageSet(images[:, None], targets, info.classes, name)


def _from_batches(
    info: SetInfo, source: BatchSource, part: Sequence[str], count: int, name: str, files: dict[str, Path]
) -> ImageSet:
    images = torch.empty(count, *info.image, dtype=torch.uint8)
    targets = torch.empty(count, dtype=torch.int64)
    size = count // len(part)
    for place, file in enumerate(part):
        batch = read_batch(files[file], size, info.image, labels=source.labels)
        _check_labels(files[file], batch.labels[:, -1], 0, len(info.classes))
        rows = slice(place * size, (place + 1) * size)
        images[rows] = torch.from_numpy(batch.images)
        targets[rows] = torch.from_numpy(batch.labels[:, -1].astype(np.int64))
    return ImageSet(images, targets, info.classes, name)


def _check_labels(path: Path, labels: NDArray[np.uint8], first: int, classes: int) -> None:
    last = first + classes - 1
    wrong = np.flatnonzero((labels < first) | (labels > last))
    if len(wrong):
        raise DataError(
            f"{path}: label {labels[wrong[0]]} at position {wrong[0]} is not in [{first}, {last}]"
        )
