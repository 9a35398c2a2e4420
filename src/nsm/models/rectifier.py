"""The noisy rectifier, a stochastic but real-valued neuron of the published comparison (SN)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nsm import random
from nsm.nn import Drawing
from nsm.nn.context import next_draw


class NoisyRectifier(Drawing):
    """max(0, u + sqrt(sigmoid(u)) N(0, 1)), the noisy rectified linear unit of Nair and Hinton (ICML 2010).

    The noise is on in training and evaluation alike and drawn like that of a stochastic layer. Gradient: 1
    where the output is positive, else 0, the noise's scale taken as constant.
    """

    def forward(self, u: Tensor) -> Tensor:
        """A sample of the shape (N, ...) and dtype of ``u``; inside :func:`nsm.nn.draws` N may grow."""
        draw = next_draw(self.index, len(u), u.device)
        if len(draw.rows) > len(u):
            u = u.repeat_interleave(draw.samples(u), dim=0)
        place = draw.place(random.Purpose.ACTIVATION)
        noise = random.normal(draw.seed, draw.rows, math.prod(u.shape[1:]), place).view(u.shape).to(u)
        # In float64: torch's float32 sigmoid differs in the last bit between the elements of one vector and
        # those left over, and a sample must not depend on its batch.
        deviation = torch.sigmoid(u.detach().double()).sqrt().to(u.dtype)
        return torch.relu(u + deviation * noise)
