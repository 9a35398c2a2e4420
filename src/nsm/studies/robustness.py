"""What becomes of a trained network whose weights are changed: all of a neuron alike, or each by itself."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from statistics import fmean
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nsm import evaluate, random
from nsm.data import ImageSet
from nsm.models import Network
from nsm.studies.inside import hidden_layers

FACTORS = (2.0, 5.0, 10.0)
CHANGES = (0.1, 0.2, 0.5, 1.0, 2.0)
_SEED = 0

# From weights (C, ...), biases (C,) and number of a hidden layer to both as changed.
_Change = Callable[[Tensor, Tensor | None, int], tuple[Tensor, Tensor | None]]


def changed_weights(
    net: Network, learnt: ImageSet, judged: ImageSet, *, samples: int, repeats: int
) -> list[dict[str, Any]]:
    """Errors on ``judged`` of copies of ``net`` whose hidden layers were changed after training.

    What is changed are the weights by which inputs are multiplied: of weight normalization, its product. The
    classifier stays as it is.

    Args:
        net: a trained network.
        learnt: images from which batch normalization takes its statistics anew, in a second row of each
            change.
        judged: images on which errors are counted.
        samples: Monte Carlo samples of an image.
        repeats: independent changes of each size.

    Returns:
        One row for each change: ``change`` in words, ``size``, ``statistics`` (``"kept"`` or ``"anew"``),
        ``error_percent``, mean over the repeats, and ``errors``.
    """
    normalized = any(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in net.modules())
    rows = []
    for change, sizes in (("none", (1.0,)), ("weights", FACTORS), ("neurons", FACTORS), ("each", CHANGES)):
        for size in sizes:
            for anew in (False, True) if normalized else (False,):
                errors = []
                for repeat in range(1 if change == "none" else repeats):
                    other = _changed(net, _CHANGES[change](size, repeat))
                    if anew:
                        _take_statistics(other, learnt)
                    errors.append(evaluate(other, judged, samples=samples, seed=_SEED).error_percent)
                rows.append(
                    {
                        "change": change,
                        "size": size,
                        "statistics": "anew" if anew else "kept",
                        "error_percent": fmean(errors),
                        "errors": errors,
                    }
                )
    return rows


def common_factors(largest: float, repeat: int, *, biases: bool) -> _Change:
    """Multiply all weights of each neuron, and its bias if asked for, by one factor in [1, largest], whose
    logarithm is uniform.
    """

    def change(weight: Tensor, bias: Tensor | None, number: int) -> tuple[Tensor, Tensor | None]:
        drawn = random.uniform(_words(number, repeat, len(weight)))
        factors = torch.exp(drawn * math.log(largest)).to(weight.dtype)
        multiplied = weight * factors.view(-1, *(1 for _ in weight.shape[1:]))
        return multiplied, bias * factors if biases and bias is not None else bias

    return change


def own_changes(size: float, repeat: int) -> _Change:
    """Add to every weight its own Gaussian number, of ``size`` standard deviations of its layer's weights."""

    def change(weight: Tensor, bias: Tensor | None, number: int) -> tuple[Tensor, Tensor | None]:
        drawn = random.uniform(_words(number, repeat, weight.numel()))
        normal = math.sqrt(2.0) * torch.special.erfinv(2.0 * drawn - 1.0)
        return weight + size * weight.std() * normal.to(weight.dtype).view_as(weight), bias

    return change


_CHANGES: dict[str, Callable[[float, int], _Change]] = {
    "none": lambda _size, _repeat: lambda weight, bias, _number: (weight, bias),
    "weights": lambda size, repeat: common_factors(size, repeat, biases=False),
    "neurons": lambda size, repeat: common_factors(size, repeat, biases=True),
    "each": own_changes,
}


def _words(number: int, repeat: int, count: int) -> Tensor:
    seed = torch.tensor(random.derive(_SEED, "changed weights", number))
    return random.words(seed, torch.tensor([[repeat, 0]]), count, random.place())[0]


@torch.no_grad()
def _changed(net: Network, change: _Change) -> Network:
    other = copy.deepcopy(net)
    for number, (product, bias) in enumerate(hidden_layers(other)):
        weight, wanted = change(product.weight, bias, number)
        if parametrize.is_parametrized(product):
            product.weight = weight
        else:
            product.weight.copy_(weight)
        if bias is not None and wanted is not None:
            bias.copy_(wanted)
    return other


@torch.no_grad()
def _take_statistics(net: Network, images: ImageSet) -> None:
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the mean of all batches
    net.train()
    for part in torch.split(torch.arange(len(images)), 500):
        net(images.batch(part)[0])
    net.eval()
