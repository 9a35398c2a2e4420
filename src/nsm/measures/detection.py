"""Telling inputs of one kind from another by a score, such as known from unknown by their entropy.

torchmetrics has such classes too; they keep every score, or compare with thresholds even in [0, 1], where
entropies of a good network hardly differ. These keep counts in the bins of :mod:`nsm.measures.bins`: scores
that differ by more than one part in 256 are told apart, the others count as equal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from nsm.measures import bins
from nsm.measures.checks import check_scores


class _Rates(NamedTuple):
    """From the highest threshold to the lowest, one for each bin that holds anything: float64 (K,)."""

    true_positives: Tensor
    false_positives: Tensor


class _Detection(Metric):
    """Counts of both kinds by score."""

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    positives: Tensor
    negatives: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("positives", "negatives"):
            self.add_state(name, torch.zeros(bins.COUNT, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, scores: Tensor, targets: Tensor) -> None:
        """Count inputs.

        Args:
            scores: (N,), finite; higher for what is to be found. For unknown inputs: entropy or mutual
                information.
            targets: (N,), 1 or True for what is to be found (out of distribution), else 0.

        Raises:
            TypeError: if an argument has the wrong type.
            ValueError: if shapes differ, a score is not finite, or a target is neither 0 nor 1.
        """
        scores, found = check_scores(scores, targets)
        places = bins.bin_of(scores)
        # Not in place: states that were made in inference mode are added to outside of it, too.
        self.positives = self.positives + torch.bincount(places[found], minlength=bins.COUNT)
        self.negatives = self.negatives + torch.bincount(places[~found], minlength=bins.COUNT)

    def _rates(self) -> _Rates:
        full = ((self.positives > 0) | (self.negatives > 0)).nonzero()[:, 0].flip(0)
        return _Rates(self.positives[full].cumsum(0).double(), self.negatives[full].cumsum(0).double())


class AUROC(_Detection):
    """Area under the receiver operating characteristic: the probability that a positive input has the higher
    score than a negative one, equal scores counting one half.

    Against the exact one the error is at most half the share of pairs whose scores fall into one bin.

    >>> auroc = AUROC()
    >>> auroc.update(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
    >>> f"{auroc.compute():.2f}"
    '0.75'
    """

    def compute(self) -> Tensor:
        """The area in [0, 1]; NaN unless both kinds were seen."""
        found, false = self._rates()
        zero = torch.zeros(1, dtype=torch.float64, device=found.device)
        found, false = torch.cat((zero, found)), torch.cat((zero, false))
        return torch.trapezoid(found, false) / (found[-1] * false[-1])


class AUPR(_Detection):
    """Area under the precision-recall curve, as average precision: sum over thresholds of the precision times
    the rise of the recall.
    """

    def compute(self) -> Tensor:
        """The area in [0, 1]; NaN if no positive input was seen."""
        found, false = self._rates()
        if not len(found):
            return torch.tensor(torch.nan, dtype=torch.float64)
        rise = torch.diff(found, prepend=found.new_zeros(1))
        return (rise * found / (found + false)).sum() / found[-1]


class FPR95(_Detection):
    """Share of the negative inputs that are taken for positive at the highest threshold that finds at least
    95 % of the positive ones.
    """

    higher_is_better = False

    def compute(self) -> Tensor:
        """The rate in [0, 1]; NaN unless both kinds were seen."""
        found, false = self._rates()
        if not len(found) or not (found[-1] and false[-1]):
            return torch.tensor(torch.nan, dtype=torch.float64)
        # Counts are exact, 0.95 n is not.
        first = int((100.0 * found >= 95.0 * found[-1]).nonzero()[0, 0])
        return false[first] / false[-1]
