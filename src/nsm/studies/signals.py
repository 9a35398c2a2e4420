"""Signal and noise of a network, layer by layer: activations, gradients, neurons undecided or all alike."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nsm.nn import StochasticLayer, sample_outputs, stochastic_layers
from nsm.nn.calibration import before_each_layer

_SEED = 0


class LayerSignals(NamedTuple):
    r"""One stochastic layer on one batch.

    Attributes:
        layer: its name.
        gain: mean of beta.
        undecided: share of neurons (over inputs and positions) with \|s\| < 1, whose gradient is above 0.4.
        activation_snr: variance of E[z | input] between inputs over the variance of z around it, all layers
            below sampled too.
        gradient_snr: squared norm of the weight gradient's mean over draws, over the mean squared norm of
            what a single draw adds to it.
    """

    layer: str
    gain: float
    undecided: float
    activation_snr: float
    gradient_snr: float


class LayerState(NamedTuple):
    r"""What the neurons of one stochastic layer do on some images.

    Attributes:
        undecided: share of neurons (over images and positions) with \|s\| < 1.
        common: share of E[z]^2 that is the same for all images: the square of its mean over images, over the
            mean of its square, both averaged over neurons and positions. 1 where all images look alike.
    """

    undecided: float
    common: float


@torch.no_grad()
def states(net: nn.Module, images: Tensor) -> list[LayerState]:
    """The state of every stochastic layer of ``net``, which is a chain of modules, all layers below sampled
    once.

    Args:
        net: the network.
        images: (N, ...).
    """
    found: list[LayerState] = []

    def measure(layer: StochasticLayer, x: Tensor) -> None:
        s = layer.erf_argument(x)
        mean = torch.erf(s).mean(0) if layer.population > 1 else torch.erf(s)
        common = mean.mean(0).square().mean() / mean.square().mean()
        found.append(LayerState(float((s.abs() < 1.0).float().mean()), float(common)))

    with before_each_layer(net, measure):
        _sampled(net, images, 1)
    return found


def signals(net: nn.Module, images: Tensor, targets: Tensor, *, samples: int = 16) -> list[LayerSignals]:
    """Signal and noise of every stochastic layer of ``net``, which is a chain of modules.

    Args:
        net: the network.
        images: (N, ...), N >= 2.
        targets: int64 (N,).
        samples: draws over which means and variances are taken, >= 2.
    """
    layers = stochastic_layers(net)
    undecided = [state.undecided for state in states(net, images)]
    outputs = _activation_snr(net, images, samples)
    gradients = _gradient_snr(net, images, targets, samples)
    return [
        LayerSignals(name, float(layer.beta.detach().mean()), undecided[i], outputs[i], gradients[i])
        for i, (name, layer) in enumerate(layers)
    ]


@torch.no_grad()
def _activation_snr(net: nn.Module, images: Tensor, samples: int) -> list[float]:
    ratios: list[float] = []

    def measure(_module: nn.Module, _inputs: object, z: Tensor) -> None:
        drawn = z.reshape(len(images), samples, -1)
        noise = drawn.var(1).mean()
        # The mean of a few samples still carries a share of their noise.
        signal = drawn.mean(1).var(0).mean() - noise / samples
        ratios.append(float(signal / noise))

    handles = [layer.register_forward_hook(measure) for _, layer in stochastic_layers(net)]
    try:
        _sampled(net, images, samples)
    finally:
        for handle in handles:
            handle.remove()
    return ratios


def _gradient_snr(net: nn.Module, images: Tensor, targets: Tensor, samples: int) -> list[float]:
    weights = [layer.weight for _, layer in stochastic_layers(net)]
    drawn: list[list[Tensor]] = []
    for sample in range(samples):
        loss = F.cross_entropy(_sampled(net, images, 1, first=sample)[:, 0], targets)
        drawn.append([gradient.flatten() for gradient in torch.autograd.grad(loss, weights)])
    ratios = []
    for gradients in zip(*drawn, strict=True):
        stacked = torch.stack(gradients)
        noise = stacked.var(0).sum()
        signal = stacked.mean(0).square().sum() - noise / samples
        ratios.append(float(signal / noise))
    return ratios


def _sampled(net: nn.Module, images: Tensor, samples: int, *, first: int = 0) -> Tensor:
    indices = torch.arange(first, first + samples)
    return sample_outputs(net, images, seed=_SEED, samples=indices, inputs=torch.arange(len(images)))
