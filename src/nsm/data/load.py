"""From a data set's name to its images, divided the same way at every call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from nsm import random
from nsm.data.batches import read_batch
from nsm.data.errors import DataError
from nsm.data.fetch import fetch
from nsm.data.folder import data_root, locate
from nsm.data.idx import read_idx
from nsm.data.images import ImageSet, Splits
from nsm.data.sets import SetInfo, describe
from nsm.data.sources import BatchSource, IdxPair, IdxSource


def load(name: str, root: str | Path | None = None, *, validation: int | None = None) -> Splits:
    """A data set, read from the data folder; files that are missing are downloaded into it first.

    The division is a fixed one, whatever the seed of a run, and a larger validation set contains the smaller.

    Args:
        name: one of :data:`SETS`.
        root: data folder; None for the one that ``NSM_DATA`` names, else a folder among the user's caches.
        validation: images held out of the training set, in [0, number of training images]; None for the
            set's own number.

    Raises:
        ValueError: if there is no set of this name, or not that many images.
        DataError: if a file is damaged, or missing and cannot be downloaded.
    """
    info = describe(name)
    held_out = info.validation if validation is None else validation
    if held_out not in range(info.train + 1):
        raise ValueError(f"validation must be a whole number in [0, {info.train}] for {name}, got {held_out}")
    learnt, test = _bundled_digits(info, name) if info.source is None else _read(info, name, root)
    return Splits(*_divide(learnt, held_out, "validation"), test)


def _divide(images: ImageSet, count: int, part: str) -> tuple[ImageSet, ImageSet]:
    """All but ``count`` images, and those, both in the order in which they came."""
    order = random.permutation(random.derive(0, "data", images.name, part), 0, len(images))
    held_out, rest = order[:count].sort().values, order[count:].sort().values
    return images.subset(rest), images.subset(held_out)


def _bundled_digits(info: SetInfo, name: str) -> tuple[ImageSet, ImageSet]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(np.rint(bunch.images * (255.0 / 16.0)).astype(np.uint8))
    targets = torch.from_numpy(bunch.target.astype(np.int64))
    return _divide(ImageSet(images[:, None], targets, info.classes, name), info.test, "test")


def _read(info: SetInfo, name: str, root: str | Path | None) -> tuple[ImageSet, ImageSet]:
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
    return learnt, test


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
