"""Shifts, rotations, changes of size, crops, reflections and holes of images, and beginnings of recordings;
random ones are a function of (seed, epoch, example) alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from nsm import random
from nsm.training.config import AugmentationConfig, Margin


class Changes(NamedTuple):
    """How examples are changed in one epoch; None where that is not asked for.

    Attributes:
        transform: float32 (n, 2, 3), see :func:`transforms`.
        window: int64 (n, 3), see :func:`windows`.
        hole: int64 (n, 2), see :func:`holes`.
        bins: int64 (n,), see :func:`beginnings`.
    """

    transform: Tensor | None = None
    window: Tensor | None = None
    hole: Tensor | None = None
    bins: Tensor | None = None

    def applied(self, images: Tensor, examples: Tensor, config: AugmentationConfig) -> Tensor:
        """The ``images`` (B, C, H, W) of the ``examples`` (int64, (B,)), changed."""
        if self.transform is not None:
            images = apply(images, self.transform[examples])
        if self.window is not None:
            images = cut(images, self.window[examples], config.crop, config.margin)
        if self.hole is not None:
            images = left_out(images, self.hole[examples], config.cutout)
        return images if self.bins is None else begun(images, self.bins[examples])


def changes(
    config: AugmentationConfig, examples: Tensor, shape: tuple[int, int, int], *, seed: int, epoch: int
) -> Changes:
    """Everything that is to be changed in images of shape (C, H, W); other arguments as for
    :func:`transforms`.
    """
    return Changes(
        transforms(config, examples, shape[1:], seed=seed, epoch=epoch),
        windows(config, examples, seed=seed, epoch=epoch),
        holes(config, examples, shape[1:], seed=seed, epoch=epoch),
        beginnings(config, examples, shape[0], seed=seed, epoch=epoch),
    )


def transforms(
    config: AugmentationConfig, examples: Tensor, size: tuple[int, int], *, seed: int, epoch: int
) -> Tensor | None:
    """The transform of each example in one epoch.

    Shift along each axis, angle and scale are independent and uniform between their bounds.

    Args:
        config: the bounds.
        examples: int64 (n,), indices of the examples in their set.
        size: (H, W) of the images, in pixels.
        seed: integer in [0, 2^63).
        epoch: number of the epoch, >= 0.

    Returns:
        float32 (n, 2, 3), from output to input positions as :func:`torch.nn.functional.affine_grid` takes
        them; None where all bounds are 0.
    """
    if config.shift == config.rotation == config.scale == 0.0:
        return None
    words = _words(examples, seed, epoch, block=0)
    shift_x, shift_y, angle, scale = (2.0 * random.uniform(words) - 1.0).unbind(-1)
    height, width = size
    linear = _turned(angle * math.radians(config.rotation), 1.0 + scale * config.scale, size)
    # affine_grid counts in half widths and half heights.
    shift = torch.stack((-2.0 * config.shift / width * shift_x, -2.0 * config.shift / height * shift_y), -1)
    # The shift comes last: it is undone first.
    return torch.cat((linear, linear @ shift[:, :, None]), -1).float()


def windows(config: AugmentationConfig, examples: Tensor, *, seed: int, epoch: int) -> Tensor | None:
    """The window of each example in one epoch, every place as probable as any other. An example is mirrored
    in every second epoch, from the first or from the second on: both ways round are shown equally often.

    Args:
        config: width of the margin, and whether to mirror.
        examples: int64 (n,), indices of the examples in their set.
        seed: integer in [0, 2^63).
        epoch: number of the epoch, >= 0.

    Returns:
        int64 (n, 3): top and left edge in [0, 2 crop], and 1 where the image is mirrored, else 0; None where
        nothing is asked for.
    """
    if config.crop == 0 and not config.flip:
        return None
    drawn = random.uniform(_words(examples, seed, epoch, block=1))
    corners = (drawn[:, :2] * (2 * config.crop + 1)).long()
    # In turn, like copies, but drawn apart from them.
    first = (random.uniform(_words(examples, seed, 0, block=4))[:, :1] < 0.5).long()
    mirrored = (first + epoch) % 2 * config.flip
    return torch.cat((corners, mirrored), -1)


def holes(
    config: AugmentationConfig, examples: Tensor, size: tuple[int, int], *, seed: int, epoch: int
) -> Tensor | None:
    """Where the square lies that is left out of each example, every place inside as probable as any other.

    Args:
        config: the side of the square.
        examples: int64 (n,), indices of the examples in their set.
        size: (H, W) of the images, in pixels, larger than the square.
        seed: integer in [0, 2^63).
        epoch: number of the epoch, >= 0.

    Returns:
        int64 (n, 2), its top and left edge; None where nothing is left out.
    """
    if config.cutout == 0:
        return None
    drawn = random.uniform(_words(examples, seed, epoch, block=5))[:, :2]
    places = torch.tensor(size) - config.cutout + 1
    return (drawn * places).long()


def beginnings(
    config: AugmentationConfig, examples: Tensor, bins: int, *, seed: int, epoch: int
) -> Tensor | None:
    """How much of each recording is shown.

    Args:
        config: the share of recordings that are not shown whole.
        examples: int64 (n,), indices of the examples in their set.
        bins: C, of a whole recording, >= 2.
        seed: integer in [0, 2^63).
        epoch: number of the epoch, >= 0.

    Returns:
        int64 (n,): C for a whole recording, else a number in [1, C - 1]; None where all are shown whole.
    """
    if config.early == 0.0:
        return None
    drawn = random.uniform(_words(examples, seed, epoch, block=3))
    some = 1 + (drawn[:, 1] * (bins - 1)).long()
    return torch.where(drawn[:, 0] < config.early, some, bins)


def begun(images: Tensor, bins: Tensor) -> Tensor:
    """Recordings as far as they have come: later bins are 0.

    Args:
        images: (B, C, H, W), the channels bins of time.
        bins: int64 (B,), how many of them are shown.

    Returns:
        (B, C, H, W).
    """
    shown = torch.arange(images.shape[1]) < bins[:, None]
    return images * shown[:, :, None, None]


def turns(copies: int, examples: Tensor, seed: int, *, epoch: int) -> Tensor:
    """Which of its copies each example shows in one epoch: every one once in ``copies`` epochs, from a random
    one on.

    Args:
        copies: K, the number of copies of each example.
        examples: int64 (n,), indices of the examples in their set.
        seed: integer in [0, 2^63).
        epoch: number of the epoch, >= 0.

    Returns:
        int64 (n,), each in [0, K).
    """
    first = (random.uniform(_words(examples, seed, 0, block=2))[:, 0] * copies).long()
    return (first + epoch) % copies


def cut(images: Tensor, window: Tensor, crop: int, margin: Margin) -> Tensor:
    """Windows of images with a margin, mirrored or not.

    Args:
        images: (B, C, H, W).
        window: int64 (B, 3) from :func:`windows`.
        crop: width of the margin, in pixels.
        margin: what it shows.

    Returns:
        (B, C, H, W).
    """
    height, width = images.shape[-2:]
    top, left, mirrored = window[:, :, None].unbind(1)
    rows = top + torch.arange(height)
    columns = torch.arange(width)
    columns = left + torch.where(mirrored == 1, columns.flip(0), columns)
    batch = torch.arange(len(images))[:, None, None]
    mode = "reflect" if margin == "mirrored" else "constant"
    padded = F.pad(images, [crop] * 4, mode=mode).permute(0, 2, 3, 1)
    return padded[batch, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def left_out(images: Tensor, hole: Tensor, side: int) -> Tensor:
    """Images with a square in the mean colour of each (T. DeVries, G. Taylor, arXiv:1708.04552).

    Args:
        images: (B, C, H, W).
        hole: int64 (B, 2) from :func:`holes`.
        side: of the square, in pixels.

    Returns:
        (B, C, H, W).
    """

    def inside(first: Tensor, length: int) -> Tensor:
        distance = torch.arange(length) - first[:, None]
        return (distance >= 0) & (distance < side)

    rows, columns = (inside(hole[:, i], images.shape[2 + i]) for i in range(2))
    square = rows[:, None, :, None] & columns[:, None, None, :]
    return torch.where(square, images.mean((2, 3), keepdim=True), images)


def rotations(degrees: Tensor, size: tuple[int, int]) -> Tensor:
    """Transforms that turn images about their centre, for :func:`apply`.

    Args:
        degrees: float (n,), counter-clockwise.
        size: (H, W) of the images, in pixels.

    Returns:
        float32 (n, 2, 3).
    """
    angle = torch.deg2rad(degrees.double())
    linear = _turned(angle, torch.ones_like(angle), size)
    return torch.cat((linear, torch.zeros_like(linear[:, :, :1])), -1).float()


def apply(images: Tensor, transform: Tensor) -> Tensor:
    """Transformed images, interpolated linearly; what comes from outside is 0.

    Args:
        images: float (B, C, H, W).
        transform: (B, 2, 3) from :func:`transforms` or :func:`rotations`.

    Returns:
        (B, C, H, W).
    """
    grid = F.affine_grid(transform.to(images.dtype), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _turned(angle: Tensor, scale: Tensor, size: tuple[int, int]) -> Tensor:
    """The linear part (n, 2, 2) of transforms by an angle (n,), in radians, and a scale (n,)."""
    height, width = size
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    # affine_grid counts in half widths and half heights; a rotation is one in pixels.
    rows = ((cosine, -sine * height / width), (sine * width / height, cosine))
    return torch.stack([torch.stack(row, -1) for row in rows], 1)


def _words(examples: Tensor, seed: int, epoch: int, block: int) -> Tensor:
    """Four words for each example: int64 (n, 4), one block of the generator, laid out as in
    :mod:`nsm.random`.
    """
    place = random.place(purpose=random.Purpose.AUGMENTATION)
    zero = torch.zeros_like(examples)
    counter = torch.stack((zero + block, examples, zero + epoch, zero + place), dim=-1)
    key = torch.tensor([seed & random.MAX_INDEX, seed >> 32])
    return random.philox4x32(counter, key)
