"""Labelled images in memory, and the three parts that a data set is divided into."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, SupportsIndex

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one size, each with the number of its class; a :class:`torch.utils.data.DataLoader` takes it.

    Attributes:
        images: uint8, shape (N, C, H, W), 0 black to 255 white.
        targets: int64, shape (N,), each in [0, number of classes).
        classes: what the classes are called, in order of their numbers.
        name: the data set that the images are from.
        copies: K changed versions of every image, for training alone: uint8, shape (K, N, ceil(C H W / 8)), a
            bit for each pixel (:func:`numpy.packbits`); None where there are none.

    Raises:
        ValueError: if a shape or a dtype is not of this form, or a target is none of the classes'.
    """

    images: Tensor
    targets: Tensor
    classes: tuple[str, ...]
    name: str
    copies: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("images", "targets", "copies"):
            value = getattr(self, name)
            if not isinstance(value, Tensor) and (value is not None or name != "copies"):
                raise ValueError(f"{name} must be a tensor, got {type(value).__name__}")
        images, targets = self.images, self.targets
        if images.dtype != torch.uint8 or images.ndim != 4:
            raise ValueError(
                f"images must be uint8 of shape (N, C, H, W), "
                f"got {images.dtype} of shape {tuple(images.shape)}"
            )
        if targets.dtype != torch.int64 or targets.shape != images.shape[:1]:
            raise ValueError(
                f"targets must be int64 of shape ({len(images)},), got {targets.dtype} "
                f"of shape {tuple(targets.shape)}"
            )
        wrong = targets[(targets < 0) | (targets >= len(self.classes))]
        if len(wrong):
            raise ValueError(f"targets must be in [0, {len(self.classes) - 1}], got {int(wrong[0])}")
        expected = (len(images), -(-math.prod(images.shape[1:]) // 8))
        copies = self.copies
        if copies is not None and (copies.dtype != torch.uint8 or copies.shape[1:] != expected):
            raise ValueError(
                f"copies must be uint8 of shape (K, {expected[0]}, {expected[1]}), got {copies.dtype} "
                f"of shape {tuple(copies.shape)}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: SupportsIndex) -> tuple[Tensor, int]:
        """One image, float32 in [0, 1] of shape (C, H, W), and its target; from the end where ``index`` < 0.

        Raises:
            IndexError: if ``index`` is not in [-N, N).
        """
        place = operator.index(index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"index must be in [{-len(self)}, {len(self) - 1}], got {place}")
        return self.images[place].float().div_(255.0), int(self.targets[place])

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        """All pairs in order."""
        return (self[place] for place in range(len(self)))

    def batch(self, indices: Tensor, copies: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The images and targets at ``indices``.

        Args:
            indices: int64, shape (B,).
            copies: which copy of each image to take instead of itself, int64 in [0, K), shape (B,).

        Returns:
            float32 images in [0, 1], shape (B, C, H, W), and int64 targets, shape (B,).
        """
        targets = self.targets[indices]
        if copies is None:
            return self.images[indices].float().div_(255.0), targets
        assert self.copies is not None, "a set without copies"
        shape = self.images.shape[1:]
        bits = np.unpackbits(self.copies[copies, indices].numpy(), axis=1, count=math.prod(shape))
        return torch.from_numpy(bits).float().reshape(-1, *shape), targets

    def subset(self, indices: Tensor) -> ImageSet:
        """A copy of the images at ``indices`` (int64, shape (B,)), in that order."""
        copies = None if self.copies is None else self.copies[:, indices]
        return ImageSet(self.images[indices], self.targets[indices], self.classes, self.name, copies)


class Splits(NamedTuple):
    """A data set divided into what is learnt from, what choices are made by, and what is reported."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet
