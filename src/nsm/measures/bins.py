"""Bins for real scores of any size: what keeps the memory of a ranking constant.

Scores whose magnitude is between 2^-40 and 2^24 share a bin only if they have the same sign and differ by
less than one part in 256; smaller ones share one bin with 0, larger ones the last on their side. The bin is
read off the leading bits of the float32 number, whose order is the order of the numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LOWEST, _HIGHEST = -40, 24
_MANTISSA = 8
_SHIFT = 23 - _MANTISSA
_PER_SIDE = (_HIGHEST - _LOWEST) << _MANTISSA
_FIRST = (127 + _LOWEST) << _MANTISSA

COUNT = 2 * _PER_SIDE + 1


def bin_of(scores: Tensor) -> Tensor:
    """The bin of each score, in [0, :data:`COUNT`), never falling with the score.

    Args:
        scores: floating point, any shape, finite.

    Returns:
        int64, the same shape.

    Raises:
        ValueError: if a score is not finite.

    >>> bin_of(torch.tensor([-1.0, 0.0, 1.0])) - bin_of(torch.tensor(0.0))
    tensor([-10241,      0,  10241])
    """
    if not scores.isfinite().all():
        raise ValueError("scores must be finite, but NaN or infinity is among them")
    narrow = scores.float()
    magnitude = (narrow.abs().view(torch.int32) >> _SHIFT).long() - _FIRST + 1
    return narrow.sign().long() * magnitude.clamp(0, _PER_SIDE) + _PER_SIDE


def risk_of(probs: Tensor) -> Tensor:
    """1 - max_c p_c of each row of (N, C), float64 (N,), as the sum of the other probabilities: 1 - p would
    round away what is left near p = 1.
    """
    return probs.double().scatter(-1, probs.argmax(-1, keepdim=True), 0.0).sum(-1)
