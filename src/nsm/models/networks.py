"""The published networks and a small one for the bundled digits, as plain sequences of modules."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from torch import nn

from nsm.models.blocks import Model, Product, neurons
from nsm.nn import Binarize
from nsm.noise import Bernoulli, NoiseLaw

Pooling = Literal["max", "average"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
_POOLS: dict[Pooling, Callable[[int], nn.Module]] = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


@dataclass(frozen=True)
class Architecture:
    """Shape of a network: convolutions (each followed by 2x2 pooling), hidden layers, classes.

    Attributes:
        image: (channels, height, width) of one input.
        convolutions: (output channels, kernel size) of each unpadded convolution.
        hidden: widths of the fully connected hidden layers.
        classes: outputs of the linear classifier on top.
        noise: the noise law of an NSM of this shape unless another is asked for.
        dropout: rate of the twin with dropout, after every hidden activation.
    """

    image: tuple[int, int, int]
    convolutions: tuple[tuple[int, int], ...]
    hidden: tuple[int, ...]
    classes: int = 10
    noise: NoiseLaw = field(default_factory=lambda: Bernoulli(0.5))
    dropout: float = 0.3


ARCHITECTURES: Mapping[str, Architecture] = {
    "digits-mlp": Architecture((1, 8, 8), (), (256, 128), dropout=0.2),
    "mnist-mlp": Architecture((1, 28, 28), (), (300, 300, 300)),
    "mnist-cnn": Architecture((1, 28, 28), ((32, 5), (64, 5)), (512,)),
}


def assemble(
    shape: Architecture, model: Model, noise: NoiseLaw, *, binarize: bool, pooling: Pooling, dropout: float
) -> nn.Sequential:
    """The network of this shape with neurons of one kind, ending in a linear classifier on their activations.

    Args:
        shape: the architecture.
        model: kind of neuron, see :data:`nsm.models.MODELS`.
        noise: law of the noise, for kinds that have one.
        binarize: whether inputs in [0, 1] are turned into +-1 first; otherwise they are used as they are, and
            a stochastic first layer computes the input's own variance.
        pooling: what becomes of the four activations of a 2x2 window.
        dropout: rate of ``twin-dropout``.
    """
    modules: list[nn.Module] = [Binarize()] if binarize else []
    binary = binarize

    def add(product: Product) -> None:
        nonlocal binary
        modules.extend(neurons(product, model, noise, binary_input=binary, dropout=dropout))
        binary = True

    channels, height, width = shape.image
    pooled = 1
    for outputs, kernel in shape.convolutions:
        add(Product(channels, outputs, kernel, pooled))
        modules.append(_POOLS[pooling](2))
        pooled = 4 if pooling == "average" else 1
        channels, height, width = outputs, (height - kernel + 1) // 2, (width - kernel + 1) // 2
    modules.append(nn.Flatten())
    features = math.prod((channels, height, width))
    for outputs in shape.hidden:
        add(Product(features, outputs, pooled=pooled))
        features, pooled = outputs, 1
    modules.append(nn.Linear(features, shape.classes))
    return nn.Sequential(*modules)
