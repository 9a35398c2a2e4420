"""Reading CIFAR's binary batches without trusting them.

Layout: records one after the other; a record is a byte for each label, then the image by channels (red,
green, blue), each by rows. There is no header: number and size of the records are known beforehand.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nsm.data.bounded import fill, opened
from nsm.data.errors import DataError


class Batch(NamedTuple):
    """The content of one file.

    Attributes:
        labels: shape (N, labels of a record).
        images: shape (N, C, H, W).
    """

    labels: NDArray[np.uint8]
    images: NDArray[np.uint8]


def read_batch(path: Path, count: int, image: tuple[int, int, int], *, labels: int = 1) -> Batch:
    """The records of a file of ``count`` labelled images, gzip-compressed if its name ends in ``.gz``.

    Args:
        path: the file.
        count: number of records that it must have.
        image: shape (C, H, W) of one image.
        labels: bytes before each image.

    Raises:
        DataError: if it cannot be read, or is shorter or longer than ``count`` records.
    """
    record = labels + math.prod(image)
    what = f"{count} records of {record} bytes"
    values = np.empty((count, record), dtype=np.uint8)
    with opened(path, values.size, what) as file:
        done = fill(file, values.data.cast("B"))
        if done < values.size:
            raise DataError(f"{path}: ends after {done} of {values.size} bytes, {what}")
        # Reading on also lets gzip compare its checksum.
        if file.read(1):
            raise DataError(f"{path}: goes on after its {values.size} bytes, {what}")
    return Batch(values[:, :labels], values[:, labels:].reshape(count, *image))
