"""Confidence against accuracy, in bins of equal width and of equal content."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from nsm.measures import bins
from nsm.measures.checks import check_bins, check_probabilities, check_targets


class Reliability(NamedTuple):
    """What a reliability diagram shows; empty bins are left out.

    Attributes:
        examples: float64 (K,), how many each bin holds.
        confidence: float64 (K,), their mean max_c p_c.
        accuracy: float64 (K,), the share of them whose most probable class is the true one.
    """

    examples: Tensor
    confidence: Tensor
    accuracy: Tensor

    def error(self) -> Tensor:
        """Mean distance between confidence and accuracy, weighted by the examples; NaN of none."""
        distance = (self.confidence - self.accuracy).abs()
        return (distance * self.examples).sum() / self.examples.sum()


class _Calibration(Metric):
    """Number of examples, sum of confidences and number of right answers in each of ``cells`` cells."""

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    count: Tensor
    confidence: Tensor
    right: Tensor

    def __init__(self, num_bins: int, cells: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_bins = check_bins(num_bins)
        for name, dtype in (("count", torch.int64), ("confidence", torch.float64), ("right", torch.int64)):
            self.add_state(name, torch.zeros(cells, dtype=dtype), dist_reduce_fx="sum")

    @abstractmethod
    def _cell(self, probs: Tensor) -> Tensor: ...

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
        confidence, decided = probs.detach().max(-1)
        cell, one = self._cell(probs), torch.ones_like(targets)
        # Not in place: states that were made in inference mode are added to outside of it, too.
        self.count = self.count.index_add(0, cell, one)
        self.confidence = self.confidence.index_add(0, cell, confidence.double())
        self.right = self.right.index_add(0, cell, (decided == targets).long())

    @abstractmethod
    def reliability(self) -> Reliability:
        """Confidence and accuracy of each bin that holds anything, from the least confident."""

    def compute(self) -> Tensor:
        """The error; NaN of no examples."""
        return self.reliability().error()


class CalibrationError(_Calibration):
    """Expected calibration error: distance between confidence max_c p_c and accuracy over ``num_bins`` bins
    (low, high] of equal width, weighted by the examples in each (Guo et al., ICML 2017, equation 5).

    Exact, as the bins are known beforehand.

    Args:
        num_bins: >= 1.
        kwargs: those of :class:`torchmetrics.Metric`.

    >>> ece = CalibrationError()
    >>> ece.update(torch.tensor([[0.75, 0.25], [0.75, 0.25]]), torch.tensor([0, 1]))
    >>> f"{ece.compute():.2f}"
    '0.25'
    """

    def __init__(self, num_bins: int = 15, **kwargs: Any) -> None:
        super().__init__(num_bins, check_bins(num_bins), **kwargs)

    def _cell(self, probs: Tensor) -> Tensor:
        confidence = probs.amax(-1).double()
        return ((confidence * self.num_bins).ceil().long() - 1).clamp(0, self.num_bins - 1)

    def reliability(self) -> Reliability:
        """Confidence and accuracy of each bin that holds anything, from the least confident."""
        full = self.count > 0
        count = self.count[full].double()
        return Reliability(count, self.confidence[full] / count, self.right[full] / count)


class AdaptiveCalibrationError(_Calibration):
    """Calibration error over ``num_bins`` bins that hold equally many examples, of the most probable class
    (Nixon et al., "Measuring calibration in deep learning", CVPR workshops 2019).

    Examples are ordered by the sum of their other probabilities, in double precision, and kept by it in the
    cells of :mod:`nsm.measures.bins`. A cell that an edge cuts is divided in proportion, which errs by at
    most twice the share of examples in cells so cut.

    Args:
        num_bins: >= 1.
        kwargs: those of :class:`torchmetrics.Metric`.
    """

    def __init__(self, num_bins: int = 15, **kwargs: Any) -> None:
        super().__init__(num_bins, bins.COUNT, **kwargs)

    def _cell(self, probs: Tensor) -> Tensor:
        return bins.bin_of(bins.risk_of(probs))

    def reliability(self) -> Reliability:
        """Confidence and accuracy of each bin that holds anything, from the least confident."""
        full = (self.count > 0).nonzero()[:, 0].flip(0)  # a large distance from 1 is a small confidence
        n = int(self.count.sum())
        small, larger = divmod(n, self.num_bins)
        sizes = np.full(self.num_bins, small) + (np.arange(self.num_bins) < larger)
        edges = np.concatenate(([0], sizes.cumsum()))
        counts = np.concatenate(([0], self.count[full].cumsum(0).cpu().numpy()))

        def within(values: Tensor) -> Tensor:
            sums = np.concatenate(([0.0], values[full].double().cumsum(0).cpu().numpy()))
            return torch.from_numpy(np.diff(np.interp(edges, counts, sums)))

        kept = torch.from_numpy(sizes > 0)
        count = torch.from_numpy(sizes).double()[kept]
        return Reliability(count, within(self.confidence)[kept] / count, within(self.right)[kept] / count)
