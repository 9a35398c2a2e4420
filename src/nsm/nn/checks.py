"""What is no network, no batch of inputs and no size, in words."""

from __future__ import annotations

import math
from numbers import Real

import torch
from torch import Tensor, nn


def check_net(net: object) -> None:
    """Refuse what is not a module."""
    if not isinstance(net, nn.Module):
        raise TypeError(f"net must be a torch.nn.Module, got {type(net).__name__}")


def check_positive(value: object, name: str) -> None:
    """Refuse what is not a positive, finite number; ``name`` is what the caller calls it."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"{name} must be positive and finite, got {value}")


def check_batch(x: object, name: str, *, least: int = 1) -> None:
    """Refuse what is not a batch of at least ``least`` finite inputs; ``name`` is what the caller calls it.

    Raises:
        TypeError: if it is no floating-point tensor.
        ValueError: if there are fewer inputs, or one holds NaN or infinity.
    """
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {x.dtype}")
    if x.dim() < 2 or len(x) < least:
        raise ValueError(f"{name} must have shape (B, ...) with B >= {least}, got {tuple(x.shape)}")
    finite = x.isfinite().flatten(1).all(1)
    if not finite.all():
        first = int((~finite).nonzero()[0])
        raise ValueError(f"{name} must be finite, but input {first} holds NaN or infinity")


def check_dtype(net: nn.Module, x: Tensor, name: str) -> None:
    """Refuse inputs that are more or less precise than ``net``, unless autocast is on."""
    known = {parameter.dtype for parameter in net.parameters() if parameter.is_floating_point()}
    if known and x.dtype not in known and not torch.is_autocast_enabled(x.device.type):
        raise TypeError(f"{name} must be {' or '.join(map(str, known))}, as this network is, got {x.dtype}")
