"""One hidden layer of neurons in each of the compared kinds: the noisy one and its conventional relatives."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from nsm.functional import Estimator
from nsm.models.rectifier import NoisyRectifier
from nsm.nn import Conv2d, Linear, Residual, Sign, StochasticLayer
from nsm.nn import centered as center
from nsm.noise import Gaussian, NoiseLaw

Twin = Literal["twin", "twin-bn", "twin-wn", "twin-dropout", "twin-bn-dropout"]
Model = Literal["nsm", Twin, "ste", "stnn", "bd", "wbd", "sn", "bn"]
MODELS: tuple[Model, ...] = get_args(Model)
STOCHASTIC_MODELS: tuple[Model, ...] = ("nsm", "ste", "stnn")
RECTIFIED_MODELS: tuple[Model, ...] = (*get_args(Twin), "sn")
_NORMALIZED: tuple[Model, ...] = ("twin-bn", "twin-bn-dropout")
_DROPPED: tuple[Model, ...] = ("twin-dropout", "twin-bn-dropout")


class Product(NamedTuple):
    """The shape of one layer's product: a convolution with ``kernel`` > 0, else fully connected.

    Attributes:
        inputs: channels or features that come in.
        outputs: neurons.
        kernel: width of the square kernel.
        padding: zeros around the image.
        bias: whether neurons have a bias.
        pooled: number of activations of the layer before whose average each input is.
        max_pool: width of the square windows over which activations are pooled by their maximum.
        residual: whether the activations are added to the inputs, neuron by neuron; those of stochastic
            neurons are averaged with them.
        population: stochastic neurons in each place.
        standardized: whether stochastic neurons count from the statistics of a batch.
    """

    inputs: int
    outputs: int
    kernel: int = 0
    padding: int = 0
    bias: bool = True
    pooled: int = 1
    max_pool: int = 1
    residual: bool = False
    population: int = 1
    standardized: bool = False


def neurons(
    product: Product,
    model: Model,
    noise: NoiseLaw,
    estimator: Estimator,
    *,
    binary_input: bool,
    dropout: float,
    centered: bool,
) -> list[nn.Module]:
    """Modules of one hidden layer, in the order of the forward pass; a residual one is a single module.

    Args:
        product: shape of the product.
        model: which kind of neuron.
        noise: law of the noise (``nsm``, ``ste`` and ``stnn`` alone).
        estimator: gradient of ``nsm`` and ``stnn``; that of ``ste`` goes straight through.
        binary_input: whether the inputs are +-1 or averages of such (likewise).
        dropout: rate of the twins with dropout.
        centered: whether the weights of every neuron sum to zero.
    """
    if model in STOCHASTIC_MODELS:
        options: Any = {
            "bias": product.bias,
            "noise": noise,
            "estimator": "straight-through" if model == "ste" else estimator,
            "binary_input": binary_input,
            "pooled": product.pooled,
            "population": product.population,
            "standardized": product.standardized,
        }
        if model == "stnn":
            options |= {"noise": _NONE, "eta": math.sqrt(noise.variance / 3.0)}
        layer: StochasticLayer
        if product.kernel:
            layer = Conv2d(
                *product[:3],
                padding=product.padding,
                max_pool=product.max_pool,
                **options,
            )
        else:
            layer = Linear(*product[:2], **options)
        if centered:
            center(layer)
        return [Residual(layer) if product.residual else layer]
    linear = _conventional(product, bias=product.bias and model not in _NORMALIZED)
    if model in ("twin-wn", "wbd"):
        linear = weight_norm(linear)
    if centered:
        center(linear)
    modules: list[nn.Module] = [linear]
    if model in _NORMALIZED:
        modules.append((nn.BatchNorm2d if product.kernel else nn.BatchNorm1d)(product.outputs))
    modules.append(_ACTIVATIONS.get(model, nn.ReLU)())
    if model in _DROPPED:
        modules.append(nn.Dropout(dropout))
    if product.max_pool > 1:
        modules.append(nn.MaxPool2d(product.max_pool))
    return [Skip(*modules)] if product.residual else modules


class Skip(nn.Sequential):
    """A chain of modules whose output is added to its input: a conventional residual layer."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (as in torch.nn.Sequential)
        """Input plus output, of the same shape."""
        output: Tensor = super().forward(input)  # type: ignore[no-untyped-call]
        return input + output


def _conventional(product: Product, *, bias: bool) -> nn.Conv2d | nn.Linear:
    if product.kernel:
        return nn.Conv2d(*product[:3], padding=product.padding, bias=bias)
    return nn.Linear(product.inputs, product.outputs, bias=bias)


# A synapse's noise whose variance is as good as 0: what is left is additive. Fresh weights of n inputs are
# uniform in +-1/sqrt(n): their squares sum to 1/3.
_NONE = Gaussian(1e-3)

# Of kinds that are no twins.
_ACTIVATIONS: dict[Model, Callable[[], nn.Module]] = {
    "bd": lambda: Sign("straight-through"),
    "wbd": lambda: Sign("straight-through"),
    "bn": lambda: Sign("probability"),
    "sn": NoisyRectifier,
}
