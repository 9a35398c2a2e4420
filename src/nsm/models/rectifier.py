"""The noisy rectifier, a stochastic but real-valued neuron of the published comparison (SN)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NoisyRectifier(nn.Module):
    """max(0, u + sqrt(sigmoid(u)) N(0, 1)), the noisy rectified linear unit of Nair and Hinton (ICML 2010).

    The noise is on in training and evaluation alike and comes from torch's default generator. Gradient: 1
    where the output is positive, else 0, the noise's scale taken as constant.
    """

    def forward(self, u: Tensor) -> Tensor:
        """A sample of the shape and dtype of ``u``."""
        noise = torch.randn_like(u) * torch.sigmoid(u).detach().sqrt()
        return torch.relu(u + noise)
