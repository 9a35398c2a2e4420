"""Small networks that between them have everything that can be compiled."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

import nsm
from nsm.models.networks import Architecture, Convolution, assemble

Shape = tuple[int, ...]


def perturbed(net: nn.Module, seed: int = 1) -> nn.Module:
    """The network with gains, biases and normalizations that differ from neuron to neuron, in evaluation."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for norm in net.modules():
            if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
                for values in (norm.running_mean, *norm.parameters()):
                    values.add_(0.3 * torch.randn(values.shape, generator=generator))
                norm.running_var.mul_(0.2 + torch.rand(norm.running_var.shape, generator=generator))
        for _, layer in nsm.nn.stochastic_layers(net):
            layer.beta.add_(0.4 * torch.randn(layer.beta.shape, generator=generator))
            if layer.bias is not None:
                layer.bias.add_(0.2 * torch.randn(layer.bias.shape, generator=generator))
    return net.eval()


def _vectors() -> nn.Module:
    return nn.Sequential(
        nsm.nn.Linear(20, 45, noise=nsm.Gaussian(0.8), eta=0.3),
        nn.Dropout(0.5),
        nsm.nn.Linear(45, 33, bias=False, binary_input=True, noise=nsm.Bernoulli(0.3)),
        nn.Linear(33, 4, bias=False),
    )


def _padded() -> nn.Module:
    return nn.Sequential(
        nsm.nn.Binarize(),
        nsm.nn.Conv2d(2, 6, 3, padding=1, binary_input=True),
        nsm.nn.Conv2d(6, 40, (3, 2), stride=(2, 1), padding=(2, 1), binary_input=True, eta=0.5),
        nn.MaxPool2d(2, stride=1),
        nsm.nn.Conv2d(40, 8, 2, padding=(0, 1), binary_input=True),
        nn.Flatten(),
        nn.Linear(8 * 3 * 7, 3),
    )


def _averaged() -> nn.Module:
    return nn.Sequential(
        nsm.nn.Conv2d(3, 10, 3, padding=1, stride=2, groups=1),
        nn.AvgPool2d(2),
        nsm.nn.Conv2d(10, 12, (3, 2), padding=(2, 1), groups=2, dilation=(1, 2), noise=nsm.Bernoulli(0.25)),
        nn.AvgPool2d((3, 1)),
        nn.MaxPool2d((1, 2)),
        nn.Flatten(),
        nsm.nn.Linear(12, 37, eta=0.1),
        nn.Sequential(nn.Identity(), nn.Linear(37, 40)),
    )


def _grouped() -> nn.Module:
    return nn.Sequential(
        nsm.nn.Conv2d(4, 8, 3, groups=4),
        nsm.nn.Conv2d(8, 8, 3, groups=8, padding=1, binary_input=True, padding_mode="zeros"),
        nsm.nn.Conv2d(8, 70, 1, binary_input=True),
        nn.AvgPool2d(3),
        nn.Flatten(),
        nn.Linear(70, 2),
    )


def _maximum() -> nn.Module:
    return nn.Sequential(
        nsm.nn.Conv2d(2, 36, 3, padding=1, max_pool=(2, 3)),
        nsm.nn.Conv2d(36, 9, 2, padding=1, binary_input=True, max_pool=2, noise=nsm.Bernoulli(0.4)),
        nn.Flatten(),
        nsm.nn.Linear(9 * 2 * 2, 20, binary_input=True),
        nn.Linear(20, 3),
    )


def _bordered() -> nn.Module:
    """Zeros around images of neurons, also where fields have gaps and steps, windows a maximum."""
    return nn.Sequential(
        nsm.nn.Conv2d(1, 20, 3, padding=1),
        nsm.nn.Conv2d(20, 40, 3, padding=(2, 1), dilation=(2, 1), binary_input=True, max_pool=(1, 2)),
        nsm.nn.Conv2d(40, 33, (2, 3), stride=(2, 1), padding=2, binary_input=True, noise=nsm.Bernoulli(0.4)),
        nsm.nn.Conv2d(33, 12, 1, padding=1, binary_input=True, eta=0.2),
        nn.Flatten(),
        nsm.nn.Linear(12 * 8 * 9, 20, binary_input=True),
        nn.Linear(20, 3),
    )


def _pooled() -> nn.Module:
    return nn.Sequential(
        nsm.nn.Conv2d(1, 8, 3, max_pool=(1, 2)),
        nn.AvgPool2d(2),
        nsm.nn.Conv2d(8, 33, 3, padding=1, binary_input=True, pooled=4, eta=0.2),
        nn.AvgPool2d((2, 3)),
        nn.Flatten(),
        nsm.nn.Linear(33 * 2 * 1, 24, binary_input=True, pooled=6, noise=nsm.Gaussian(0.9)),
        nn.Linear(24, 4),
    )


def _residual() -> nn.Module:
    """Residual layers on signs and on averages; behind one a layer whose variance is that of its inputs."""
    return nn.Sequential(
        nsm.nn.Conv2d(2, 34, 3, padding=1),
        nsm.nn.Residual(nsm.nn.Conv2d(34, 34, 3, padding=1, binary_input=True, eta=0.3)),
        nsm.nn.Residual(nsm.nn.Conv2d(34, 34, 1, binary_input=True, pooled=2, groups=2)),
        nsm.nn.Conv2d(34, 20, 2, binary_input=True, pooled=3, max_pool=2),
        nsm.nn.Residual(nsm.nn.Conv2d(20, 20, 3, padding=1, binary_input=True, noise=nsm.Bernoulli(0.4))),
        nn.MaxPool2d(2),
        nsm.nn.Conv2d(20, 9, 1, padding=1),
        nn.Flatten(),
        nsm.nn.Linear(9 * 3 * 4, 40, binary_input=True),
        nsm.nn.Residual(nsm.nn.Linear(40, 40, binary_input=True)),
        nn.Linear(40, 3),
    )


def _wide() -> nn.Module:
    """Sums of more units than 16 bits hold: every weight of some neurons is the largest."""
    net = nn.Sequential(
        nsm.nn.Linear(9, 1100),
        nsm.nn.Linear(1100, 70, binary_input=True),
        nsm.nn.Linear(70, 20, binary_input=True),
        nn.Linear(20, 3),
    )
    with torch.no_grad():
        net[1].product.weight[::3] = 0.1
        net[1].product.weight[1::3] = -0.1
    return net


def _features() -> nn.Module:
    """Vectors through fully connected deterministic layers."""
    return nn.Sequential(
        nn.BatchNorm1d(20),
        nn.Linear(20, 35),
        nn.ReLU(),
        nn.BatchNorm1d(35),
        nn.Sequential(nn.Dropout(0.5), nn.Linear(35, 6, bias=False)),
        nn.BatchNorm1d(6, affine=False),
        nsm.nn.Linear(6, 40),
        nn.BatchNorm1d(40),
        nn.Linear(40, 3),
    )


def _stem() -> nn.Module:
    """The published network for CIFAR in small."""
    layers = (
        Convolution(10, 3, padded=True),
        Convolution(12, 3, padded=True, pooled=True),
        Convolution(33, 3, padded=True),
        Convolution(33, 1),
    )
    shape = Architecture(
        (3, 12, 10),
        layers,
        classes=5,
        stem=(Convolution(6, 3, padded=True),),
        average=5,
        normalized=True,
        bias=False,
    )
    return assemble(
        shape,
        "nsm",
        nsm.Bernoulli(0.5),
        binarize=False,
        pooling="max",
        dropout=0.0,
        centered=False,
        population=1,
        standardized=False,
    )


def _strided() -> nn.Module:
    """Deterministic convolutions of every geometry, on signs."""
    return nn.Sequential(
        nsm.nn.Binarize(),
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding="valid", groups=2, bias=False),
        nn.ReLU(),
        nn.Conv2d(6, 40, 3, padding="same", dilation=(1, 2)),
        nn.BatchNorm2d(40),
        nsm.nn.Conv2d(40, 20, 2, groups=2, eta=0.2, max_pool=2, noise=nsm.Gaussian(0.6)),
        nn.BatchNorm2d(20),
        nn.Flatten(),
        nn.Linear(20 * 2 * 4, 3),
    )


def _synapses() -> nn.Module:
    """Every synapse drawn: convolutions of every geometry, on pixels and on signs; one layer is not."""
    drawn = {"fidelity": "synapse", "binary_input": True}
    return nn.Sequential(
        nsm.nn.Conv2d(2, 36, (3, 2), stride=(1, 2), padding=1, max_pool=2, fidelity="synapse"),
        nsm.nn.Conv2d(36, 8, 2, padding=(0, 1), groups=2, dilation=(1, 2), noise=nsm.Bernoulli(0.3), **drawn),
        nn.MaxPool2d(2, stride=1),
        nsm.nn.Residual(nsm.nn.Conv2d(8, 8, 3, padding=1, groups=4, **drawn)),
        nn.MaxPool2d((1, 2)),
        nsm.nn.Conv2d(8, 34, 1, binary_input=True, pooled=2),
        nn.Flatten(),
        nsm.nn.Linear(34 * 2, 40, noise=nsm.Bernoulli(0.8), **drawn),
        nn.Linear(40, 3),
    )


def _synapses_on_averages() -> nn.Module:
    """Every synapse drawn, behind a deterministic layer and behind averages, each with one synapse."""
    return nn.Sequential(
        nsm.nn.Binarize(),
        nn.Conv2d(1, 5, 3),
        nn.ReLU(),
        nsm.nn.Conv2d(5, 33, 2, noise=nsm.Bernoulli(0.6), fidelity="synapse"),
        nn.AvgPool2d((3, 2)),
        nsm.nn.Conv2d(33, 7, 2, padding=1, fidelity="synapse"),
        nn.Flatten(),
        nn.Linear(7 * 3 * 4, 4),
    )


def _sure() -> nn.Module:
    """Most neurons are sure of what they do, as in a network that has learned something."""
    net = nn.Sequential(
        nsm.nn.Linear(20, 150),
        nsm.nn.Linear(150, 197, binary_input=True),
        nsm.nn.Linear(197, 70, binary_input=True),
        nn.Linear(70, 4),
    )
    with torch.no_grad():
        for _, layer in nsm.nn.stochastic_layers(net):
            layer.bias.normal_(0.0, 1.0)
    return net


def _population() -> nn.Module:
    """Populations of several sizes, with everything that may stand between them."""
    heard = {"binary_input": True, "pooled": 20, "population": 20, "standardized": True}
    return nn.Sequential(
        nsm.nn.Conv2d(2, 5, 3, padding=1, population=20, max_pool=2),
        nsm.nn.Residual(nsm.nn.Conv2d(5, 5, 3, padding=1, **heard)),
        nn.AvgPool2d((2, 1)),
        nsm.nn.Conv2d(5, 6, 2, binary_input=True, pooled=80, population=2, noise=nsm.Gaussian(0.8)),
        nn.Flatten(),
        nsm.nn.Linear(24, 9, binary_input=True, pooled=2, population=4, eta=0.2),
        nn.BatchNorm1d(9),
        nn.Linear(9, 3),
    )


def _shared() -> nn.Module:
    """Populations whose neurons share their sums, in all that may stand between them."""
    heard = {"binary_input": True, "standardized": True}
    return nn.Sequential(
        nn.Conv2d(2, 6, 3),
        nn.BatchNorm2d(6),
        nn.MaxPool2d((1, 2)),
        nn.ReLU(),
        nn.AvgPool2d((1, 2), stride=1),
        nsm.nn.Conv2d(6, 37, 3, padding=1, population=4, standardized=True, max_pool=(1, 2)),
        nsm.nn.Conv2d(37, 35, 3, padding=1, pooled=4, population=2, max_pool=(2, 1), **heard),
        nsm.nn.Conv2d(35, 36, 3, padding=1, pooled=2, population=3, **heard),
        nn.MaxPool2d((1, 2)),
        nsm.nn.Residual(nsm.nn.Conv2d(36, 36, 3, padding=1, pooled=3, population=2, **heard)),
        nn.AvgPool2d((1, 2)),
        # Its variance is that of what it hears.
        nsm.nn.Conv2d(36, 34, (2, 1), population=5),
        nsm.nn.Residual(nsm.nn.Conv2d(34, 34, 1, groups=2, pooled=5, population=28, eta=0.3, **heard)),
        nn.AvgPool2d((2, 1)),
        nn.Flatten(),
        nn.BatchNorm1d(34),
        nn.Linear(34, 3),
    )


# Name: (network, shape of an input)
NETS: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "vectors": (_vectors, (20,)),
    "digits": (lambda: nsm.models.build("digits-mlp"), (1, 8, 8)),
    "padded": (_padded, (2, 7, 6)),
    "averaged": (_averaged, (3, 13, 11)),
    "grouped": (_grouped, (4, 5, 5)),
    "maximum": (_maximum, (2, 7, 10)),
    "bordered": (_bordered, (1, 9, 10)),
    "pooled": (_pooled, (1, 10, 16)),
    "residual": (_residual, (2, 7, 9)),
    "sure": (_sure, (20,)),
    "wide": (_wide, (9,)),
    "features": (_features, (20,)),
    "stem": (_stem, (3, 12, 10)),
    "population": (_population, (2, 8, 10)),
    "shared": (_shared, (2, 10, 20)),
    "strided": (_strided, (4, 11, 10)),
    "synapses": (_synapses, (2, 9, 10)),
    "synapses-averages": (_synapses_on_averages, (1, 9, 9)),
    "published": (lambda: nsm.models.build("mnist-cnn"), (1, 28, 28)),
    "published-centered": (lambda: nsm.models.build("mnist-cnn", centered=True), (1, 28, 28)),
    "published-averages": (
        lambda: nsm.models.build("mnist-cnn", binarize=True, pooling="average"),
        (1, 28, 28),
    ),
}


def made(name: str) -> tuple[nn.Module, Shape]:
    build, shape = NETS[name]
    torch.manual_seed(3)
    return perturbed(build()), shape


def compiled(name: str, **options: str) -> nsm.Program:
    net, shape = made(name)
    return nsm.compile(net, image=shape if len(shape) == 3 else None, **options)


def images(name: str, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    x = torch.rand(count, *NETS[name][1], generator=generator)
    # Pixels that are 0, as most of a digit's are.
    return x * (torch.rand(x.shape, generator=generator) < 0.6)
