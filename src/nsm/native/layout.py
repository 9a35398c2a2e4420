"""Memory order of the rows of a (N, P, C) tensor: channel last, or position last as in an NCHW image."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

_GROUP = 64  # elements that the kernels draw together


def is_position_last(u: Tensor) -> bool:
    """Whether the rows of ``u`` lie in memory as dense (C, P)."""
    _, positions, channels = u.shape
    return positions > 1 and channels > 1 and u.stride(1) == 1 and u.stride(2) == positions


def runs(u: Tensor) -> dict[str, int | bool]:
    """How the kernels see dense rows of ``u``: ``outer`` runs of ``inner`` contiguous elements, a run for
    each channel or (``by_run`` False) for each position.
    """
    _, positions, channels = u.shape
    by_run = is_position_last(u)
    outer, inner = (channels, positions) if by_run else (positions, channels)
    return {"outer": outer, "inner": inner, "by_run": by_run}


def empty_rows(u: Tensor, rows: int, dtype: torch.dtype | None = None) -> Tensor:
    """(rows, P, C), dense, each row in the memory order of those of ``u``; on its device, and of its dtype if
    none is given.
    """
    _, positions, channels = u.shape
    if is_position_last(u):
        return u.new_empty((rows, channels, positions), dtype=dtype).transpose(1, 2)
    return u.new_empty((rows, positions, channels), dtype=dtype)


def dense(x: Tensor, position_last: bool) -> Tensor:
    """``x`` if it is dense in that order, else a copy that is."""
    return x.transpose(1, 2).contiguous().transpose(1, 2) if position_last else x.contiguous()


def dense_rows(u: Tensor) -> Tensor:
    """``u`` if each of its rows is dense in one of the two orders (rows may lie anywhere), else a copy."""
    _, positions, channels = u.shape
    channel_last = (channels == 1 or u.stride(2) == 1) and (positions == 1 or u.stride(1) == channels)
    return u if channel_last or is_position_last(u) else u.contiguous()


def repeated(x: Tensor, turns: int) -> Tensor:
    """(..., C) to (..., turns x C)."""
    return x.repeat(*(1,) * (x.dim() - 1), turns)


def for_groups(x: Tensor) -> Tensor:
    """(..., C) repeated so often that a group of elements, which starts at any channel and runs on into the
    next position, finds its numbers in a row.
    """
    return repeated(x, 1 + math.ceil(_GROUP / x.shape[-1]))


@functools.lru_cache(maxsize=256)
def offsets(shape: tuple[int, ...], strides: tuple[int, ...]) -> Tensor:
    """Where in memory each index of an array of this shape lies, in row-major order: int64, 1-d."""
    found = torch.zeros(1, dtype=torch.int64)
    for size, stride in zip(shape, strides, strict=True):
        found = (found[:, None] + stride * torch.arange(size)).flatten()
    return found
