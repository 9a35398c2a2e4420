"""Shifts, rotations and changes of size of images; random ones are a function of (seed, epoch, example)
alone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from nsm import random
from nsm.training.config import AugmentationConfig


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
    if config == AugmentationConfig():
        return None
    shift_x, shift_y, angle, scale = (2.0 * random.uniform(_words(examples, seed, epoch)) - 1.0).unbind(-1)
    height, width = size
    linear = _turned(angle * math.radians(config.rotation), 1.0 + scale * config.scale, size)
    # affine_grid counts in half widths and half heights.
    shift = torch.stack((-2.0 * config.shift / width * shift_x, -2.0 * config.shift / height * shift_y), -1)
    # The shift comes last: it is undone first.
    return torch.cat((linear, linear @ shift[:, :, None]), -1).float()


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


def _words(examples: Tensor, seed: int, epoch: int) -> Tensor:
    """Four words for each example: int64 (n, 4), one block of the generator, laid out as in
    :mod:`nsm.random`.
    """
    place = random.place(purpose=random.Purpose.AUGMENTATION)
    zero = torch.zeros_like(examples)
    counter = torch.stack((zero, examples, zero + epoch, zero + place), dim=-1)
    key = torch.tensor([seed & random.MAX_INDEX, seed >> 32])
    return random.philox4x32(counter, key)
