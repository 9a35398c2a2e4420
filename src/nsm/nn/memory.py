"""Memory order of images."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last(images: Tensor) -> Tensor:
    """``images`` (B, C, H, W) in torch's channels_last order, told apart from the other by its strides even
    if C = 1: there both look alike, and torch's convolution would take the slower one.
    """
    images = images.contiguous(memory_format=torch.channels_last)
    return images if images.stride(1) == 1 else images.clone(memory_format=torch.channels_last)
