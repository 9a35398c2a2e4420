"""What one decision costs a network: products and random bits, counted while it is made."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nsm.nn import Drawing, StochasticLayer, sample_outputs
from nsm.nn.context import active_fidelity
from nsm.rivals import Ensemble

_PRODUCTS = nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d
_BITS = 24  # of the uniform number that a neuron's or a unit's draw is compared with


class Cost(NamedTuple):
    """Of S samples of one input.

    Attributes:
        products: multiplications of a weight with an activation, also where the activation is +-1; those that
            samples share are counted once. A stochastic layer whose inputs are not all +-1, as at fidelity
            ``"marginal"``, multiplies twice, for mean and variance.
        random_bits: bits drawn.
    """

    products: int
    random_bits: int


def cost(net: nn.Module, x: Tensor, samples: int) -> Cost:
    """Count while ``net`` draws ``samples`` samples of one input ``x`` (1, ...)."""
    products = bits = 0

    def multiplied(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        nonlocal products
        assert isinstance(module, _PRODUCTS)
        products += output.numel() * module.weight[0].numel() * (2 if module in twice else 1)

    def drew(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        nonlocal bits
        bits += _BITS * output.numel() * getattr(module, "population", 1)

    # By the module that multiplies: the product inside a stochastic layer is one of these.
    twice = {
        product
        for module in net.modules()
        if isinstance(module, Drawing) and not _hears_signs(module)
        for product in module.children()
    }
    hooks = []
    for module in net.modules():
        if isinstance(module, _PRODUCTS):
            hooks.append(module.register_forward_hook(multiplied))
        elif isinstance(module, Drawing) and module.is_drawing() and not isinstance(module, Ensemble):
            hooks.append(module.register_forward_hook(drew))
    try:
        with torch.no_grad():
            sample_outputs(net.eval(), x, seed=0, samples=torch.arange(samples), inputs=torch.arange(1))
    finally:
        for hook in hooks:
            hook.remove()
    return Cost(products, bits)


def _hears_signs(module: Drawing) -> bool:
    """Whether all inputs are +1 or -1, so that the variance does not depend on them."""
    if isinstance(module, StochasticLayer) and active_fidelity(module.fidelity) == "marginal":
        return False
    return bool(getattr(module, "binary_input", True))
