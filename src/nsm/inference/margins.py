"""Margins between classes, counted sample by sample for many inputs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Standing(NamedTuple):
    """How classes stand after each of k samples, for n inputs: the leading class's margins over each.

    Attributes:
        samples: int64 (k,), number of samples so far, >= 1.
        lead: int64 (n, k), the class of the largest mean logit.
        total: float64 (n, k, C), S of the leading class over each; 0 over itself.
        squares: float64 (n, k, C), Q.
    """

    samples: Tensor
    lead: Tensor
    total: Tensor
    squares: Tensor


class Margins:
    """Margins of every pair of C classes for some inputs, over the samples seen so far.

    Args:
        inputs: their number N.
        classes: C.
        device: where they are kept.
    """

    def __init__(self, inputs: int, classes: int, device: torch.device) -> None:
        self._samples = 0
        self._total = torch.zeros(inputs, classes, dtype=torch.float64, device=device)
        self._products = torch.zeros(inputs, classes, classes, dtype=torch.float64, device=device)

    def add(self, logits: Tensor) -> Standing:
        """Count k more samples, (N, k, C); how classes stand after each of them."""
        # A common shift of an input's logits changes no margin, and without it products stay small.
        wide = logits.double() - logits.double().mean(2, keepdim=True)
        count = wide.shape[1]
        total = accumulated(self._total, wide)
        products = accumulated(self._products, wide[..., :, None] * wide[..., None, :])
        self._total, self._products = total[:, -1], products[:, -1]
        samples = torch.arange(1, count + 1, device=logits.device) + self._samples
        self._samples += count
        lead = total.argmax(2)
        chosen = lead[..., None]
        own = torch.diagonal(products, dim1=2, dim2=3)
        with_lead = products.gather(2, chosen[..., None].expand(*total.shape[:2], 1, total.shape[2]))[:, :, 0]
        squares = (own.gather(2, chosen) - 2.0 * with_lead + own).clamp(min=0.0)
        return Standing(samples, lead, total.gather(2, chosen) - total, squares)

    def keep(self, chosen: Tensor) -> None:
        """Forget all inputs but ``chosen``, bool (N,)."""
        self._total, self._products = self._total[chosen], self._products[chosen]


def accumulated(before: Tensor, added: Tensor) -> Tensor:
    """``before`` (n, ...) plus the first, the first two, ... of ``added`` (n, k, ...): (n, k, ...).

    One after another, so that a sum does not depend on how many are added in a call.
    """
    return torch.cat((before[:, None], added), dim=1).cumsum(1)[:, 1:]
