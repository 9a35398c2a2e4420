"""What the measures refuse, in words."""

from __future__ import annotations

import torch
from torch import Tensor

# Of bfloat16 probabilities, rounded one by one.
_SUM_ERROR = 0.02


def check_probabilities(probs: object, shape: str) -> Tensor:
    """``probs`` itself, a floating-point tensor whose shape has as many letters as ``shape``, such as
    ``"(N, C)"``.

    Raises:
        TypeError: if it is no floating-point tensor.
        ValueError: if it has another number of dimensions, holds values outside [0, 1] or NaN, or does not
            sum to 1 over the last one.
    """
    if not isinstance(probs, Tensor) or not probs.is_floating_point():
        got = probs.dtype if isinstance(probs, Tensor) else type(probs).__name__
        raise TypeError(f"probs must be a floating-point tensor, got {got}")
    if probs.dim() != shape.count(",") + 1 or not probs.shape[-1]:
        raise ValueError(f"probs must have shape {shape}, got {tuple(probs.shape)}")
    # Sums of rounded numbers may exceed 1 by a few units in the last place.
    if probs.numel() and not (probs.amin() >= 0.0 and probs.amax() <= 1.0 + 1e-3):
        raise ValueError(
            f"probs must lie in [0, 1], got values from {float(probs.amin())} to {float(probs.amax())}"
        )
    sums = probs.sum(-1, dtype=torch.float64)
    if probs.numel() and not (sums - 1.0).abs().max() <= _SUM_ERROR:
        raise ValueError(
            f"probs must sum to 1 over the classes, got sums from {float(sums.min())} to {float(sums.max())}"
        )
    return probs


def check_samples(probs: object, least: int = 1) -> Tensor:
    """``probs`` itself, class probabilities (N, S, C) of at least ``least`` samples of each input.

    Raises:
        TypeError: if it is no floating-point tensor.
        ValueError: if it has another shape or fewer samples, or holds no probabilities.
    """
    probs = check_probabilities(probs, "(N, S, C)")
    if probs.shape[1] < least:
        raise ValueError(f"probs must hold samples of each input, at least {least}, got {probs.shape[1]}")
    return probs


def check_targets(targets: object, probs: Tensor) -> Tensor:
    """``targets`` itself, one class for each row of ``probs``.

    Raises:
        TypeError: if it is no tensor of integers.
        ValueError: if it has another shape, or a class that has no probability.
    """
    if not isinstance(targets, Tensor) or targets.is_floating_point() or targets.dtype == torch.bool:
        got = targets.dtype if isinstance(targets, Tensor) else type(targets).__name__
        raise TypeError(f"targets must be a tensor of integers, got {got}")
    if targets.shape != probs.shape[:1]:
        raise ValueError(f"targets must have shape ({len(probs)},), got {tuple(targets.shape)}")
    if len(targets) and not (targets.min() >= 0 and targets.max() < probs.shape[1]):
        raise ValueError(
            f"targets must lie in [0, {probs.shape[1]}), got {int(targets.min())} to {int(targets.max())}"
        )
    return targets.long()


def check_bins(num_bins: object) -> int:
    """``num_bins`` itself, a whole number >= 1.

    Raises:
        ValueError: if it is none.
    """
    if isinstance(num_bins, bool) or not isinstance(num_bins, int) or num_bins < 1:
        raise ValueError(f"num_bins must be a whole number >= 1, got {num_bins!r}")
    return num_bins


def check_scores(scores: object, targets: object) -> tuple[Tensor, Tensor]:
    """``scores`` and ``targets`` themselves, a number and 0 or 1 for each input.

    Raises:
        TypeError: if one is no tensor, or ``scores`` are not floating point.
        ValueError: if shapes differ, or a target is neither 0 nor 1.
    """
    if not isinstance(scores, Tensor) or not scores.is_floating_point():
        got = scores.dtype if isinstance(scores, Tensor) else type(scores).__name__
        raise TypeError(f"scores must be a floating-point tensor, got {got}")
    if not isinstance(targets, Tensor):
        raise TypeError(f"targets must be a tensor, got {type(targets).__name__}")
    if scores.dim() != 1 or targets.shape != scores.shape:
        raise ValueError(
            "scores and targets must both have shape (N,), "
            f"got {tuple(scores.shape)} and {tuple(targets.shape)}"
        )
    if not ((targets == 0) | (targets == 1)).all():
        raise ValueError("targets must be 0 or 1")
    return scores, targets.bool()
