"""Weights of least squares for any product that is linear in them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

# Of the mean square of what a neuron receives: with fewer inputs than synapses, weights stay small.
_RIDGE = 0.03
_STEPS = 20


def fit_weights(product: nn.Module, x: Tensor, wanted: Tensor) -> None:
    """Set the weights so that ``product(x)`` is ``wanted``, up to a constant for each neuron, in place.

    Minimises for each neuron sum (wanted - w.x - c)^2 + ridge |w|^2 over w and c by conjugate gradients,
    which ask of the product for nothing but itself and its gradient: convolutions of every stride, dilation
    and number of groups are solved alike. The constant c is left to a bias.

    Args:
        product: linear layer or convolution whose ``weight`` is a parameter.
        x: its inputs (N, ...).
        wanted: what it should give, of the shape of its output.

    Hestenes and Stiefel, J. Res. Nat. Bur. Stand. 49 (1952), 409-436, section 10: least squares.
    """
    channel = wanted.dim() - 1 if isinstance(product, nn.Linear) else 1
    others = [dim for dim in range(wanted.dim()) if dim != channel]
    original: Tensor = product.weight.detach()  # type: ignore[operator]
    of_outputs = [-1 if dim == channel else 1 for dim in range(wanted.dim())]
    of_weights = [-1] + [1] * (original.dim() - 1)

    def centered(outputs: Tensor) -> Tensor:
        return outputs - outputs.mean(others, keepdim=True)

    def applied(weight: Tensor) -> tuple[Tensor, Tensor]:
        """The weights as a leaf and what they give, with the graph between them."""
        leaf = weight.detach().requires_grad_()
        with torch.enable_grad():
            outputs: Tensor = functional_call(product, {"weight": leaf}, (x,))
        return leaf, outputs

    def squares(values: Tensor, dims: list[int]) -> Tensor:
        return values.square().sum(dims)

    synapses = list(range(1, original.dim()))
    ridge = _RIDGE * x.square().mean() * (wanted.numel() / wanted.shape[channel])
    weight, residual = torch.zeros_like(original), centered(wanted)
    leaf, outputs = applied(weight)
    (gradient,) = torch.autograd.grad(outputs, leaf, residual)
    direction, slope = gradient, squares(gradient, synapses)
    for _ in range(_STEPS):
        leaf, outputs = applied(direction)
        change = centered(outputs.detach())
        curvature = squares(change, others) + ridge * squares(direction, synapses)
        # A neuron that is solved has neither slope nor curvature.
        step = torch.where(curvature > 0.0, slope / curvature, 0.0)
        weight = weight + step.view(of_weights) * direction
        residual = residual - step.view(of_outputs) * change
        (gradient,) = torch.autograd.grad(outputs, leaf, residual)
        gradient = gradient - ridge * weight
        before, slope = slope, squares(gradient, synapses)
        direction = gradient + torch.where(before > 0.0, slope / before, 0.0).view(of_weights) * direction
    with torch.no_grad():
        product.weight.copy_(weight)  # type: ignore[operator]
