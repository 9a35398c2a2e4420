"""The published networks and a small one for the bundled digits, as plain sequences of modules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, get_args

from torch import nn

from nsm.functional import Estimator
from nsm.models.blocks import RECTIFIED_MODELS, STOCHASTIC_MODELS, Model, Product, neurons
from nsm.models.whitening import Whitening
from nsm.nn import Binarize
from nsm.noise import Bernoulli, NoiseLaw

Pooling = Literal["max", "average", "largest"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)


class Convolution(NamedTuple):
    """One layer of convolutional neurons.

    Attributes:
        outputs: channels.
        kernel: width of the square kernel.
        padded: whether zeros around the image keep its size (odd kernels), or it shrinks.
        pooled: whether 2x2 pooling follows.
        residual: whether its activations are added to its input; those of stochastic neurons are averaged
            with it.
    """

    outputs: int
    kernel: int
    padded: bool = False
    pooled: bool = False
    residual: bool = False

    @property
    def padding(self) -> int:
        """Zeros on every side of the image."""
        return self.kernel // 2 if self.padded else 0

    def sizes(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what leaves the layer, pooled if it is."""
        cells = 2 if self.pooled else 1
        shrunk = self.kernel - 1 - 2 * self.padding
        return (height - shrunk) // cells, (width - shrunk) // cells


@dataclass(frozen=True)
class Architecture:
    """Shape of a network: convolutions, hidden layers, classes.

    Attributes:
        image: (channels, height, width) of one input.
        convolutions: layers of convolutional neurons.
        hidden: widths of the fully connected hidden layers.
        classes: outputs of the linear classifier on top.
        noise: the noise law of an NSM of this shape unless another is asked for.
        dropout: rate of the twins with dropout, after every hidden activation.
        stem: conventional convolutions before the neurons, with batch normalization of the image and of each
            output, and rectifiers between them; pooling is that of the maximum.
        whitened: width of the patches of the normalized image that are decorrelated and rectified before the
            first of them (:class:`nsm.models.whitening.Whitening`); 0 for none.
        rectified: whether the last of them is rectified in stochastic networks, too.
        pooling: of the activations behind each layer that is pooled, unless another is asked for.
        average: width of the windows over which the last convolution's activations are averaged; 0 for none.
        normalized: whether batch normalization comes before the classifier.
        bias: whether neurons have a bias.
        estimator: gradient of an NSM's neurons, see :func:`nsm.functional.derivative`.
        population: stochastic neurons in each place unless another number is asked for.
        standardized: whether stochastic neurons count from the statistics of a batch unless told otherwise.
    """

    image: tuple[int, int, int]
    convolutions: tuple[Convolution, ...] = ()
    hidden: tuple[int, ...] = ()
    classes: int = 10
    noise: NoiseLaw = field(default_factory=lambda: Bernoulli(0.5))
    dropout: float = 0.3
    stem: tuple[Convolution, ...] = ()
    whitened: int = 0
    rectified: bool = False
    pooling: Pooling = "max"
    average: int = 0
    normalized: bool = False
    bias: bool = True
    estimator: Estimator = "probability"
    population: int = 1
    standardized: bool = False


def _cifar(classes: int, width: int = 96, *, population: int = 1, standardized: bool = False) -> Architecture:
    """The published network for CIFAR: noise behind 3x3 kernels only after a real first layer."""
    return Architecture(
        (3, 32, 32),
        (
            *_block(width),
            *_block(2 * width),
            Convolution(2 * width, 3, padded=True),
            Convolution(2 * width, 1),
            Convolution(2 * width, 1),
        ),
        classes=classes,
        dropout=0.1,
        stem=(Convolution(width, 3, padded=True),),
        average=8,
        normalized=True,
        bias=False,
        estimator="smoothed",
        population=population,
        standardized=standardized,
    )


def _pair(channels: int, *, pooled: bool = True) -> tuple[Convolution, ...]:
    """A padded layer and, behind its pooling, a residual one of the same size."""
    return (
        Convolution(channels, 3, padded=True, pooled=pooled),
        Convolution(channels, 3, padded=True, residual=True),
    )


def _block(channels: int) -> tuple[Convolution, ...]:
    """Three padded 3x3 layers, the last one pooled."""
    return tuple(Convolution(channels, 3, padded=True, pooled=pooled) for pooled in (False, False, True))


ARCHITECTURES: Mapping[str, Architecture] = {
    "digits-mlp": Architecture((1, 8, 8), hidden=(256, 128), dropout=0.2),
    "mnist-mlp": Architecture((1, 28, 28), hidden=(300, 300, 300)),
    "mnist-cnn": Architecture(
        (1, 28, 28), (Convolution(32, 5, pooled=True), Convolution(64, 5, pooled=True)), (512,)
    ),
    "nmnist-cnn": Architecture(
        (10, 34, 34), (Convolution(32, 5, pooled=True), Convolution(64, 5, pooled=True)), (150,)
    ),
    "cifar10-allconv": _cifar(10),
    "cifar10-allconv-third": _cifar(10, width=32, population=8, standardized=True),
    "cifar100-allconv": _cifar(100),
    "cifar10-residual": Architecture(
        (3, 32, 32),
        (*_pair(64, pooled=False), *_pair(384), *_pair(384)),
        dropout=0.1,
        stem=(Convolution(64, 3, padded=True, pooled=True),),
        whitened=2,
        rectified=True,
        pooling="largest",
        average=3,
        normalized=True,
        population=8,
        standardized=True,
    ),
    "dvsgesture-allconv": Architecture(
        (6, 64, 64),
        (
            *_block(64),
            *_block(96),
            *_block(128),
            Convolution(256, 3, padded=True),
            Convolution(256, 1),
            Convolution(256, 1),
        ),
        classes=11,
        average=8,
        normalized=True,
        estimator="smoothed",
    ),
}


def assemble(
    shape: Architecture,
    model: Model,
    noise: NoiseLaw,
    *,
    binarize: bool,
    pooling: Pooling,
    dropout: float,
    centered: bool,
    population: int,
    standardized: bool,
) -> nn.Sequential:
    """The network of this shape with neurons of one kind, ending in a linear classifier on their activations.

    Args:
        shape: the architecture.
        model: kind of neuron, see :data:`nsm.models.MODELS`.
        noise: law of the noise, for kinds that have one.
        binarize: whether inputs in [0, 1] are turned into +-1 first; otherwise they are used as they are, and
            a stochastic first layer computes the input's own variance.
        pooling: what becomes of the four activations of a 2x2 window; stochastic layers draw a maximum of
            neurons at once.
        dropout: rate of the twins with dropout.
        centered: whether the weights of every neuron sum to zero.
        population: stochastic neurons in each place.
        standardized: whether stochastic neurons count from the statistics of a batch; they have
            biases then, as populations have.
    """
    modules: list[nn.Module] = [Binarize()] if binarize else []
    binary = binarize

    def add(product: Product) -> None:
        nonlocal binary
        modules.extend(
            neurons(
                product,
                model,
                noise,
                shape.estimator,
                binary_input=binary,
                dropout=dropout,
                centered=centered,
            )
        )
        binary = True

    channels, height, width = shape.image
    pooled = 1
    bias = shape.bias or (model in STOCHASTIC_MODELS and (population > 1 or standardized))
    if shape.stem:
        modules.append(nn.BatchNorm2d(channels))
        if shape.whitened:
            first = Whitening(channels, shape.whitened)
            modules.extend((first, nn.ReLU()))
            channels = first.out_channels
            height, width = height - shape.whitened + 1, width - shape.whitened + 1
        for layer in shape.stem:
            rectified = shape.rectified or model in RECTIFIED_MODELS or layer is not shape.stem[-1]
            modules.extend(_conventional(channels, layer, rectified=rectified))
            channels, (height, width) = layer.outputs, layer.sizes(height, width)
        binary = False
    for layer in shape.convolutions:
        max_pool = 2 if layer.pooled and pooling == "max" else 1
        add(
            Product(
                channels,
                layer.outputs,
                layer.kernel,
                layer.padding,
                bias,
                pooled,
                max_pool,
                layer.residual,
                population,
                standardized,
            )
        )
        channels, pooled = layer.outputs, population + (pooled if layer.residual else 0)
        height, width = layer.sizes(height, width)
        if layer.pooled and pooling == "average":
            modules.append(nn.AvgPool2d(2))
            pooled *= 4
        elif layer.pooled and pooling == "largest":
            modules.append(nn.MaxPool2d(2))
    if shape.average:
        modules.append(nn.AvgPool2d(shape.average))
        pooled *= shape.average**2
        height, width = height // shape.average, width // shape.average
    modules.append(nn.Flatten())
    features = channels * height * width
    for outputs in shape.hidden:
        add(
            Product(
                features,
                outputs,
                bias=bias,
                pooled=pooled,
                population=population,
                standardized=standardized,
            )
        )
        features, pooled = outputs, population
    if shape.normalized:
        modules.append(nn.BatchNorm1d(features))
    modules.append(nn.Linear(features, shape.classes))
    return nn.Sequential(*modules)


def _conventional(channels: int, layer: Convolution, *, rectified: bool) -> list[nn.Module]:
    """Real features to real features."""
    modules: list[nn.Module] = [
        nn.Conv2d(channels, layer.outputs, layer.kernel, padding=layer.padding, bias=False),
        nn.BatchNorm2d(layer.outputs),
    ]
    if rectified:
        modules.append(nn.ReLU())
    if layer.pooled:
        modules.append(nn.MaxPool2d(2))
    return modules
