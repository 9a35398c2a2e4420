"""From a data set's name to its images, divided the same way at every call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nsm import random
from nsm.data.batches import read_batch
from nsm.data.errors import DataError
from nsm.data.fetch import fetch
from nsm.data.folder import data_root, locate
from nsm.data.idx import read_idx
from nsm.data.images import ImageSet, Splits
from nsm.data.sets import SetInfo, describe
from nsm.data.sources import BatchSource, EventSource, IdxPair, IdxSource, SimulatedSource


def load(name: str, root: str | Path | None = None, *, validation: int | None = None) -> Splits:
    """A data set, read from the data folder; files that are missing are downloaded into it first.

    The division is a fixed one, whatever the seed of a run, and a larger validation set contains the smaller.
    Recordings of event cameras become the images that the published networks see; their validation set is
    made of whole users where the set knows them, and may be a little larger than asked for. Recordings of
    ``"nmnist-simulated"`` are simulated from MNIST at the first call, which takes minutes, those of
    ``"digits-simulated"`` from the bundled digits, which takes seconds.

    Args:
        name: one of :data:`SETS`.
        root: data folder; None for the one that ``NSM_DATA`` names, else a folder among the user's caches.
        validation: images held out of the training set, in [0, number of training images]; None for the
            set's own number, or the same share of a subset.

    Raises:
        ValueError: if there is no set of this name, or not that many images.
        DataError: if a file is damaged, or missing and cannot be downloaded.
    """
    info = describe(name)
    _check_validation(validation, info.train, name)
    learnt, test, groups = _parts(info, name, root)
    _check_validation(validation, len(learnt), name)
    held_out = info.validation * len(learnt) // info.train if validation is None else validation
    return Splits(*_divide(learnt, held_out, "validation", groups), test)


def _check_validation(validation: int | None, train: int, name: str) -> None:
    if validation is not None and validation not in range(train + 1):
        raise ValueError(f"validation must be a whole number in [0, {train}] for {name}, got {validation}")


class _Parts(NamedTuple):
    """What is read of a set; images of one group must stay together."""

    learnt: ImageSet
    test: ImageSet
    groups: Tensor | None = None


def _parts(info: SetInfo, name: str, root: str | Path | None) -> _Parts:
    if info.source is None:
        bundled = _bundled_digits(info, "digits")
        return bundled if name == "digits" else _simulated(bundled, name, root)
    if isinstance(info.source, EventSource):
        fetch(name, root)
        return _framed(info.source, name, root)
    parts = _read(info, name, root)
    return _simulated(parts, name, root) if isinstance(info.source, SimulatedSource) else parts


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
    held = torch.isin(members, chosen)
    return images.subset((~held).nonzero()[:, 0]), images.subset(held.nonzero()[:, 0])


def _framed(source: EventSource, name: str, root: str | Path | None) -> _Parts:
    """Recordings as the published networks see them; what is made of them is kept in the data folder."""
    from nsm.data import events
    from nsm.data.events.images import as_images
    from nsm.data.events.representations import GESTURE_FRAMES, GESTURE_WINDOWS, NMNIST_FRAMES

    sets = {
        "nmnist": events.nmnist,
        "dvsgesture": events.dvs_gesture,
        "dvsgesture-precut": events.dvs_gesture_precut,
    }
    frames, windows = (NMNIST_FRAMES, 1) if source.layout == "nmnist" else (GESTURE_FRAMES, GESTURE_WINDOWS)
    folder = data_root(root) / "cache"
    learnt, test = (
        as_images(replace(sets[source.layout](split, root), name=name), frames, folder, windows=windows)
        for split in events.SPLITS
    )
    return _Parts(learnt.images, test.images, learnt.groups)


def _simulated(parts: _Parts, name: str, root: str | Path | None) -> _Parts:
    """A simulated recording of each image, numbered through, test images last."""
    from nsm.data.simulated.images import as_recordings

    folder = data_root(root) / "cache"
    learnt = as_recordings(parts.learnt, name, folder)
    return _Parts(learnt, as_recordings(parts.test, name, folder, first=len(learnt)))


def _bundled_digits(info: SetInfo, name: str) -> _Parts:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(np.rint(bunch.images * (255.0 / 16.0)).astype(np.uint8))
    targets = torch.from_numpy(bunch.target.astype(np.int64))
    return _Parts(*_divide(ImageSet(images[:, None], targets, info.classes, name), info.test, "test"))


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
