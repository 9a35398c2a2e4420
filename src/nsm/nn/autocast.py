"""Autocast on the device of a tensor, which some devices (meta) have not."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch
from torch import Tensor


def dtype(x: Tensor) -> torch.dtype:
    """In which dtype a product of ``x`` is computed."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if _known(x) and torch.is_autocast_enabled(device) else x.dtype


def off(x: Tensor) -> AbstractContextManager[object]:
    """A block in which products of ``x`` are computed in its own dtype."""
    return torch.autocast(x.device.type, enabled=False) if _known(x) else contextlib.nullcontext()


def _known(x: Tensor) -> bool:
    return torch.amp.is_autocast_available(x.device.type)
