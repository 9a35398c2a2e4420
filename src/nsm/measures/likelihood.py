"""Proper scores of class probabilities, as means over everything seen."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor
from torch.nn import functional as F

from nsm.measures.average import Average
from nsm.measures.checks import check_probabilities, check_targets
from nsm.measures.surprise import surprise


class _MeanScore(Average):
    """Mean over examples of a score of their probabilities."""

    higher_is_better = False

    @abstractmethod
    def _score(self, probs: Tensor, targets: Tensor) -> Tensor: ...

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
        self._add(self._score(probs.double(), check_targets(targets, probs)))


class CategoricalNLL(_MeanScore):
    """Mean negative log-likelihood -ln p_t of the true class t, in nats; :mod:`nsm.measures.surprise` has the
    least p_t.

    >>> import torch
    >>> nll = CategoricalNLL()
    >>> nll.update(torch.tensor([[0.5, 0.5]]), torch.tensor([1]))
    >>> f"{nll.compute():.4f}"
    '0.6931'
    """

    def _score(self, probs: Tensor, targets: Tensor) -> Tensor:
        return surprise(probs, targets)


class BrierScore(_MeanScore):
    """Mean of sum_c (p_c - [c = t])^2, in [0, 2] (Brier, Monthly Weather Review 78, 1950).

    >>> import torch
    >>> brier = BrierScore()
    >>> brier.update(torch.tensor([[0.8, 0.2]]), torch.tensor([0]))
    >>> f"{brier.compute():.2f}"
    '0.08'
    """

    def _score(self, probs: Tensor, targets: Tensor) -> Tensor:
        return (probs - F.one_hot(targets, probs.shape[1])).square().sum(1)
