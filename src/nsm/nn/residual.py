"""Residual connections between binary neurons."""

from __future__ import annotations

from torch import Tensor, nn

from nsm.nn.layer import StochasticLayer


class Residual(nn.Module):
    """A stochastic layer that is averaged with its own input.

    Forward law, for an input x that is the average of K signs (``layer.pooled``), z the layer's samples, the
    average of L signs (``layer.population``)::

        x' = (K x + L z) / (K + L)

    Every activation x' is the average of K + L signs. Nothing real arises, and a layer behind it that
    declares ``pooled=K + L`` has a synapse for every one of them: its variance is the same whatever they are.
    Gradient law: K / (K + L) of it through x, L / (K + L) by the layer's own law.

    A layer of random weights hands on at most 2/pi of a correlation between two inputs; here the input is
    handed on as well, so that a deep network keeps what its lower layers said.

    Shape: (N, ...) to the same; inside :func:`nsm.nn.draws` the batch may grow as in the layer.

    Args:
        layer: a layer whose input is +-1 or averages of such (``binary_input``), and whose output has the
            input's shape.

    Raises:
        TypeError: if ``layer`` is not a stochastic layer.
        ValueError: if its inputs are not declared to be signs; when called, if it changes the shape.

    >>> import torch
    >>> from nsm.nn import Conv2d, Linear
    >>> net = nn.Sequential(Linear(8, 16), Residual(Linear(16, 16, binary_input=True)))
    >>> net.append(Linear(16, 4, binary_input=True, pooled=2))(torch.rand(3, 8)).shape
    torch.Size([3, 4])
    """

    def __init__(self, layer: StochasticLayer) -> None:
        super().__init__()
        if not isinstance(layer, StochasticLayer):
            raise TypeError(f"layer must be a stochastic layer such as nsm.nn.Conv2d, got {layer!r:.80}")
        if not layer.binary_input:
            raise ValueError("layer must have binary_input=True: only signs can be averaged with its own")
        self.layer = layer

    @property
    def pooled(self) -> int:
        """K + L, the signs that an output is the average of."""
        return self.layer.pooled + self.layer.population

    def forward(self, x: Tensor) -> Tensor:
        """The average of K + L signs, of the shape of ``x``."""
        z: Tensor = self.layer(x)
        repeat = len(z) // max(1, len(x))
        if z.shape[1:] != x.shape[1:] or len(z) != repeat * len(x):
            raise ValueError(
                f"layer must keep the shape of its input, {tuple(x.shape)}, got {tuple(z.shape)}"
            )
        x = x.repeat_interleave(repeat, dim=0)
        return x + (z - x) * (self.layer.population / self.pooled)
