"""The average of the weights over the last steps."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

N = TypeVar("N", bound=nn.Module)


class WeightAverage(Generic[N]):
    """Exponential moving average of a network's parameters and buffers, corrected for its start.

    After step t the average is sum_i d^(t-i) w_i / sum_i d^(t-i) over i = 1 .. t: the initial weights have no
    part in it. Buffers that are not floating point are copied.

    Args:
        net: the network whose weights are averaged.
        decay: d, in [0, 1).

    Attributes:
        net: a copy of the network that holds the average, in evaluation mode.
    """

    def __init__(self, net: N, decay: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.decay = decay
        pairs = list(zip(self.net.state_dict().values(), net.state_dict().values(), strict=True))
        self._floating = [pair for pair in pairs if pair[0].is_floating_point()]
        self._other = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after step number ``step`` (>= 1) into the average."""
        share = (1.0 - self.decay) / (1.0 - self.decay**step)
        averages, current = zip(*self._floating, strict=True)
        torch._foreach_lerp_(averages, current, share)
        for copied, value in self._other:
            copied.copy_(value)
