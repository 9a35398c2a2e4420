"""What several measures are: the average over inputs of something that each of them has."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class Average(Metric):
    """Mean of one value for each input, summed in float64."""

    is_differentiable = False
    full_state_update = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # The collections of torchmetrics let metrics share states that have the same name and, after the
        # first batch, the same value.
        self._total, self._count = (f"{type(self).__name__}_{part}" for part in ("total", "count"))
        self.add_state(self._total, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state(self._count, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def _add(self, values: Tensor) -> None:
        for name, added in ((self._total, values.sum()), (self._count, len(values))):
            setattr(self, name, getattr(self, name) + added)

    def compute(self) -> Tensor:
        """The mean; NaN of no inputs."""
        total, count = getattr(self, self._total), getattr(self, self._count)
        mean: Tensor = total / count
        return mean
