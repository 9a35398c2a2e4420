"""Weights that sum to zero for every neuron, so that what all inputs have in common is not heard."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn
from torch.nn.utils import parametrize

from nsm.nn.layer import StochasticLayer

Centerable = StochasticLayer | nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
_Layer = TypeVar("_Layer", bound=Centerable)


def centered(layer: _Layer) -> _Layer:
    r"""Let the weights of every neuron of ``layer`` sum to zero, however it learns.

    w_ij = v_ij - mean_j v_ij, where v is what is learned (``parametrizations.weight.original`` of the
    product) and the mean is over the synapses of one neuron; the gradient at v is that at w less its own mean
    over each neuron's synapses. Nothing else of the layer changes: w is the weight of its law.

    A constant c added to all inputs of a neuron then leaves w z as it was. In a stochastic layer it is not
    without effect: the variance s^2 sum_j w_ij^2 z_j^2 grows with it, and the neuron is *less* sure. Without
    centering, an input with a bright background drives every neuron whose weights do not sum to zero by
    (sum_j w_ij) c, whatever else is to be seen, and neurons that all agree call that certainty. Zeros with
    which a convolution pads its input are not shifted with it: there the sum is over the synapses that are
    left.

    As in centered weight normalization (Huang et al., ICCV 2017), without the division: an NSM's noise
    normalizes by itself.

    Args:
        layer: changed in place.

    Returns:
        ``layer``.

    Raises:
        TypeError: if ``layer`` is no stochastic layer, linear layer or convolution.
        ValueError: if a neuron of it has a single synapse, whose weight would be 0, or if it is centered.

    >>> import torch
    >>> layer = centered(nn.Linear(5, 2))
    >>> bool(layer.weight.sum(1).abs().max() < 1e-6)
    True
    """
    product = layer.product if isinstance(layer, StochasticLayer) else layer
    if not isinstance(product, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d):
        raise TypeError(
            f"layer must be a stochastic layer, a linear layer or a convolution, got {type(layer).__name__}"
        )
    if product.weight[0].numel() == 1:
        raise ValueError("layer must have neurons with more than one synapse: a single weight would be 0")
    if any(isinstance(part, _Centered) for part in product.modules()):
        raise ValueError("layer is centered already")
    parametrize.register_parametrization(product, "weight", _Centered())
    return layer


class _Centered(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight - weight.mean(tuple(range(1, weight.dim())), keepdim=True)

    def right_inverse(self, weight: Tensor) -> Tensor:
        return weight
