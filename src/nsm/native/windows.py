"""Windows of neurons, (N, *P, *W, C): where they lie in memory, and what leaves them."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from nsm.native import layout
from nsm.native.checks import KERNEL_DTYPES


def check(u: Tensor) -> None:
    """Refuse what are no windows of one to three dimensions, or numbers that nothing is drawn from."""
    if u.dim() not in (4, 6, 8):
        raise ValueError(f"u must have shape (N, *P, *K, C) of 4, 6 or 8 dimensions, got {tuple(u.shape)}")
    if u.dtype not in (*KERNEL_DTYPES, torch.float64):
        raise TypeError(f"u must be float32, bfloat16 or float64, got {u.dtype}")
    if size(u) < 1:
        raise ValueError(f"u must have windows of one neuron or more, got shape {tuple(u.shape)}")


def dims(u: Tensor) -> int:
    """Dimensions of positions, and as many of a window."""
    return (u.dim() - 2) // 2


def size(u: Tensor) -> int:
    """Neurons of a window."""
    return math.prod(u.shape[1 + dims(u) : -1])


def left(u: Tensor) -> tuple[int, ...]:
    """Shape of what leaves the windows of one input, (*P, C)."""
    return *u.shape[1 : 1 + dims(u)], u.shape[-1]


def empty(u: Tensor, rows: int) -> Tensor:
    """Room for what leaves the windows, (rows, *P, C)."""
    return u.new_empty(rows, *left(u))


def empty_gradient(u: Tensor) -> Tensor:
    """Room for a gradient at ``u``, in the memory order of windows side by side in images with channels last:
    the compiler must know it beforehand, and that of ``u`` may be another one than it was told.
    """
    last = 1 + 2 * dims(u)
    order = [0, *range(1, last, 2), *range(2, last, 2), last]
    return u.new_empty(_side_by_side(u)).permute(order)


def _side_by_side(u: Tensor) -> list[int]:
    """(N, *P, *W, C) as (N, P_1, W_1, ..., C)."""
    count = dims(u)
    pairs = zip(u.shape[1 : 1 + count], u.shape[1 + count : -1], strict=True)
    return [u.shape[0], *itertools.chain(*pairs), u.shape[-1]]


def neurons_last(u: Tensor) -> Tensor:
    """``u``, or a copy, whose neurons lie side by side."""
    return u if u.stride(-1) == 1 else u.contiguous()


def fields(u: Tensor) -> dict[str, Tensor | int | bool]:
    """How the kernels see windows with neurons last."""
    origin, member = places(u)
    return {
        "u": u,
        "origin": origin,
        "member": member,
        "inputs": len(u),
        "positions": len(origin),
        "window": len(member),
        "channels": u.shape[-1],
        "u_stride": u.stride(0),
        "bfloat16": u.dtype == torch.bfloat16,
    }


def places(u: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets of the windows, and of the neurons in a window."""
    count, shape, strides = dims(u), u.shape[1:-1], u.stride()[1:-1]
    return layout.offsets(shape[:count], strides[:count]), layout.offsets(shape[count:], strides[count:])
