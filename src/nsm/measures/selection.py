"""What is gained by leaving out the predictions that are least sure."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from nsm.measures import bins
from nsm.measures.checks import check_probabilities, check_targets


class RiskCoverage(NamedTuple):
    """Error of the predictions that are kept, against how many are.

    Attributes:
        coverage: float64 (K,), share of the predictions that are kept, rising to 1.
        risk: float64 (K,), share of wrong ones among them.
    """

    coverage: Tensor
    risk: Tensor


class AURC(Metric):
    """Area under the risk-coverage curve: the mean over k = 1 .. n of the error of the k surest predictions
    (Geifman, Uziel and El-Yaniv, ICLR 2019). Lower is better.

    The surest prediction is the one whose probabilities other than the largest have the smallest sum, in
    double precision: where they sum to 1, that is the order of max_c p_c. Predictions are kept by this sum in
    the bins of :mod:`nsm.measures.bins`; within a bin their order is taken to be any, and the area is the
    mean over those orders.

    >>> aurc = AURC()
    >>> aurc.update(torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.6, 0.4]]), torch.tensor([0, 0, 1]))
    >>> f"{aurc.compute():.4f}"
    '0.1111'
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    count: Tensor
    wrong: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("count", "wrong"):
            self.add_state(name, torch.zeros(bins.COUNT, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, probs: Tensor, targets: Tensor) -> None:
        """Count examples.

        Args:
            probs: (N, C), class probabilities.
            targets: integers (N,), the true classes.

        Raises:
            TypeError: if an argument has the wrong type.
            ValueError: if an argument has a wrong shape or value.
        """
        probs = check_probabilities(probs, "(N, C)")
        targets = check_targets(targets, probs)
        places = bins.bin_of(bins.risk_of(probs))
        wrong = places[probs.argmax(-1) != targets]
        # Not in place: states that were made in inference mode are added to outside of it, too.
        self.count = self.count + torch.bincount(places, minlength=bins.COUNT)
        self.wrong = self.wrong + torch.bincount(wrong, minlength=bins.COUNT)

    def curve(self) -> RiskCoverage:
        """The curve, one point for each bin that holds anything."""
        count, wrong = self._cumulative()
        return RiskCoverage(count / count[-1:], wrong / count)

    def compute(self) -> Tensor:
        """The area in [0, 1]; NaN of no examples."""
        count, wrong = self._cumulative()
        zero = count.new_zeros(1)
        before, wrong_before = torch.cat((zero, count[:-1])), torch.cat((zero, wrong[:-1]))
        inside = count - before
        rate = (wrong - wrong_before) / inside
        # The sum over i = 1 .. m of (E + r i) / (N + i), by the difference of two harmonic numbers.
        harmonic = torch.digamma(count + 1.0) - torch.digamma(before + 1.0)
        return (rate * inside + (wrong_before - rate * before) * harmonic).sum() / count[-1:].sum()

    def _cumulative(self) -> tuple[Tensor, Tensor]:
        """Examples and errors up to each bin that holds anything, from the surest on: float64 (K,)."""
        full = (self.count > 0).nonzero()[:, 0]
        return self.count[full].cumsum(0).double(), self.wrong[full].cumsum(0).double()
