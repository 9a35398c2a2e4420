"""The quantile function of the normal law, as a fixed sequence of float32 operations.

Each is rounded once (additions, multiplications, one root), so that every implementation gives the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# log2(1 + t) / t on [1/sqrt(2) - 1, sqrt(2) - 1]; then Phi^-1(1 - q) / (1 - 2 q) as a function of
# w = -log2(4 q (1 - q)) below 9 and of sqrt(w) above: fitted by iterated weighted least squares, 7e-9, 4e-7
# and 2e-7 off.
_LOG2 = (
    1.4426949, -0.721347153, 0.480922461, -0.360721141, 0.28765744, -0.238520324, 0.217376918, -0.210299268,
    0.12540932,
)  # fmt: skip
_CENTRE = (
    2.33663845, 0.235487282, -0.00409202091, -0.00035179712, 6.14532401e-05, -2.96730354e-06, -2.56527727e-07,
    3.54315333e-08, -2.80344664e-10,
)  # fmt: skip
_TAIL = (
    4.77173996, 1.18637097, 0.00300448388, -0.00154821284, 0.000607628899, -0.000344401255, 0.000235376356,
    -7.40977266e-05,
)  # fmt: skip
_ROOT_HALF = 0x3F3504F3  # bits of sqrt(1/2)


def normal(words: Tensor) -> Tensor:
    """Phi^-1(U) with U = (word + 1/2) / 2^32: antisymmetric, within 2e-6 of the exact value; tails reach 6.3
    standard deviations.

    Args:
        words: int64 of any shape, in [0, 2^32).

    Returns:
        float32 of the same shape.
    """
    low = words < 2**31
    q = (torch.where(low, words, 2**32 - 1 - words).float() + 0.5) * 2.0**-32
    x = 1.0 - 2.0 * q
    bits = (4.0 * q * (1.0 - q)).view(torch.int32)
    exponent = (bits - _ROOT_HALF) >> 23
    t = (bits - (exponent << 23)).view(torch.float32) - 1.0
    # Where rounding makes it negative, U is in the middle.
    w = (-(exponent.float() + _horner(_LOG2, t) * t)).clamp(min=0.0)
    # torch's float32 root is not always rounded right.
    root = torch.sqrt(w.double()).float()
    size = x * torch.where(w < 9.0, _horner(_CENTRE, w - 4.5), _horner(_TAIL, root - 4.25))
    return torch.where(low, -size, size)


def _horner(coefficients: Sequence[float], x: Tensor) -> Tensor:
    result = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = result * x + coefficient
    return result
