"""Deterministic companions of the stochastic layers: input encoding and the sign activation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nsm.functional import ESTIMATORS, Estimator, expected_state, sign, with_gradient_of


class Binarize(nn.Module):
    """Real inputs in [0, 1] to sgn(2 x - 1) in {-1, +1}, the released protocol's input encoding."""

    def forward(self, x: Tensor) -> Tensor:
        """+1 where ``x`` is at least 1/2, else -1, and NaN stays; shape and dtype of ``x``, no gradient.

        Raises:
            TypeError: if ``x`` is not floating point.
        """
        if not x.is_floating_point():
            raise TypeError(f"x must be floating point, in [0, 1], got {x.dtype}")
        return torch.where(x.isnan(), x, torch.where(x >= 0.5, 1.0, -1.0)).to(x.dtype)


class Sign(nn.Module):
    """The deterministic binary neuron z' = sgn(u), without noise.

    Args:
        estimator: gradient law at u, see :func:`nsm.functional.derivative`.

    Raises:
        ValueError: if the estimator is unknown.
    """

    def __init__(self, estimator: Estimator) -> None:
        super().__init__()
        if estimator not in ESTIMATORS:
            raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {estimator!r}")
        self.estimator = estimator

    def forward(self, u: Tensor) -> Tensor:
        """sgn(u), shape and dtype of ``u``."""
        return with_gradient_of(sign(u), expected_state(u, self.estimator))

    def extra_repr(self) -> str:
        """The gradient law."""
        return f"estimator={self.estimator!r}"
