"""What is inside a network while it learns: the last hidden layer's preactivations, and the weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nsm.data import Splits
from nsm.nn import StochasticLayer, sample_outputs, stochastic_layers
from nsm.nn.calibration import before_each_layer
from nsm.studies.stepping import stepped
from nsm.training import Config

PREACTIVATION_PERCENTILES = (15, 50, 85)
WEIGHT_PERCENTILES = (1, 15, 50, 85, 99)
_SEED = 0


class HiddenLayer(NamedTuple):
    """A hidden layer of C neurons.

    Attributes:
        product: the module whose ``weight``, (C, ...), multiplies the inputs.
        bias: (C,), or None.
    """

    product: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
    bias: Tensor | None


def hidden_layers(net: nn.Sequential) -> list[HiddenLayer]:
    """Every layer of ``net`` but the classifier, which is the last one."""
    layers = []
    for module in net:
        if isinstance(module, StochasticLayer):
            layers.append(HiddenLayer(module.product, module.bias))
        elif isinstance(module, nn.Linear | nn.Conv2d):
            layers.append(HiddenLayer(module, module.bias))
    return layers[:-1]


@torch.no_grad()
def preactivations(net: nn.Sequential, images: Tensor) -> Tensor:
    """What the nonlinearity of the last hidden layer of neurons receives: (N, C), positions among the N.

    For noisy neurons s, the argument of erf in P(z' = 1) = (1 + erf(s)) / 2, with the layers below sampled
    once; for rectifiers their input, where batch normalization takes the statistics of these images, as in a
    training step.

    Args:
        net: a network of :func:`nsm.models.build`; left as it is.
        images: (N, channels, height, width).
    """
    net = copy.deepcopy(net).train()
    found: list[Tensor] = []
    inputs = torch.arange(len(images))

    def measure(layer: StochasticLayer, x: Tensor) -> None:
        found.append(layer.erf_argument(x).flatten(0, -2))

    def receive(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        found.append(arguments[0].movedim(1, -1).flatten(0, -2))

    if stochastic_layers(net):
        with before_each_layer(net, measure):
            sample_outputs(net, images, seed=_SEED, samples=torch.zeros(1, dtype=torch.int64), inputs=inputs)
    else:
        for module in net:
            if isinstance(module, nn.ReLU):
                module.register_forward_pre_hook(receive)
        net(images)
    return found[-1]


def percentiles(values: Tensor, wanted: Sequence[int]) -> Tensor:
    """Percentiles over the first dimension: (P, ...)."""
    shares = torch.tensor(wanted, dtype=torch.float64) / 100.0
    return torch.quantile(values.double(), shares, dim=0)


def beginning(config: Config, splits: Splits, *, steps: int, every: int, images: int) -> dict[str, Any]:
    """How the last hidden layer's preactivations move in the first steps of a run.

    Args:
        config: the run.
        splits: its images; held-out ones are looked at.
        steps: last step.
        every: steps between two looks.
        images: held-out images.

    Returns:
        ``step``: where it was looked; ``p15``, ``p50``, ``p85``: percentiles over neurons and images there;
        ``widening``: mean over neurons of p85 - p15, and ``drift``: mean distance of a neuron's median from
        where it was at step 0, both in units of the mean p85 - p15 at step 0.
    """
    pixels, _ = splits.validation.batch(torch.arange(min(images, len(splits.validation))))
    looked: list[int] = []
    pooled: list[Tensor] = []
    single: list[Tensor] = []
    for run in stepped(config, splits):
        step = run.progress.step
        if step % every == 0:
            values = preactivations(run.net, pixels)
            looked.append(step)
            pooled.append(percentiles(values.flatten(), PREACTIVATION_PERCENTILES))
            single.append(percentiles(values, PREACTIVATION_PERCENTILES))
        if step >= steps:
            break
    low, median, high = torch.stack(single, dim=1)
    unit = (high - low)[0].mean()
    return {
        "step": looked,
        **_columns(torch.stack(pooled), PREACTIVATION_PERCENTILES),
        "widening": _rounded((high - low).mean(1) / unit),
        "drift": _rounded((median - median[0]).abs().mean(1) / unit),
    }


def weight_percentiles(net: nn.Sequential) -> list[list[float]]:
    """:data:`WEIGHT_PERCENTILES` of the weights of each hidden layer."""
    return [
        _rounded(percentiles(layer.product.weight.detach().flatten(), WEIGHT_PERCENTILES))
        for layer in hidden_layers(net)
    ]


def _columns(values: Tensor, wanted: Sequence[int]) -> dict[str, list[float]]:
    return {f"p{percent}": _rounded(column) for percent, column in zip(wanted, values.unbind(1), strict=True)}


def _rounded(values: Tensor) -> list[float]:
    """Numbers to four digits, as result files keep them."""
    return [float(f"{value:.4g}") for value in values.tolist()]
