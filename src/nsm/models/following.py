"""A fresh network of noisy neurons that starts with what its trained twin knows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nsm.models.blocks import RECTIFIED_MODELS, STOCHASTIC_MODELS
from nsm.models.build import Network
from nsm.nn import StochasticLayer, stochastic_layers
from nsm.nn.checks import check_batch
from nsm.nn.imitation import imitate
from nsm.nn.original import NORMALIZATIONS, PRODUCTS, read

# Their noise is in the rectifier: its argument is no preactivation to follow.
_FOLLOWED = tuple(model for model in RECTIFIED_MODELS if model != "sn")
# What may differ between a network and the twin that it follows.
_OWN = ("model", "noise", "dropout", "population", "standardized")


def can_follow(net: Network, twin: Network) -> bool:
    """Whether :func:`follow` applies: ``net`` is stochastic, ``twin`` its rectified twin of the same shape.

    Weights that sum to zero by construction cannot be set.
    """
    kinds = net.config["model"] in STOCHASTIC_MODELS and twin.config["model"] in _FOLLOWED
    same = all(twin.config[key] == value for key, value in net.config.items() if key not in _OWN)
    return kinds and same and not net.config["centered"]


def follow(net: Network, twin: Network, batch: Tensor, *, seed: int) -> None:
    """Give a network the knowledge of its trained twin, in place [N19, starred rows of its table].

    Real layers in front are the twin's. Every neuron behind them follows the preactivation of the twin's
    neuron in its place, in least squares over samples of the batch, as in :func:`nsm.convert`, but what it
    hears are the signs of this network: pooled, averaged and handed on as it does. With many layers this is a
    start to learn on from, no network to use.

    Args:
        net: a network for which :func:`can_follow` holds.
        twin: its twin.
        batch: inputs (N, channels, height, width) of what the twin learned, N >= 2; some hundreds.
        seed: seed of the draws, in [0, 2^63).

    Raises:
        ValueError: if ``twin`` is not the network's twin, or ``batch`` holds one input, infinity or
            NaN.
        TypeError: if ``batch`` is no floating-point tensor.
    """
    if not can_follow(net, twin):
        raise ValueError(
            "twin must be the rectified twin of a stochastic net without centered weights: net is "
            f"{net.config}, twin {twin.config}"
        )
    check_batch(batch, "batch", least=2)
    original = read(twin, batch)
    layers = [layer for _, layer in stochastic_layers(net)]
    followed = list(original.neurons.items())[-len(layers) :]
    real = _real(net)
    with torch.no_grad():
        for mine, other in zip(real, _real(twin), strict=False):
            mine.load_state_dict(other.state_dict())
        for layer, (name, _) in zip(layers, followed, strict=True):
            product = twin.get_submodule(name)
            assert isinstance(product, PRODUCTS)
            layer.product.weight.copy_(product.weight)
    *behind, classifier = _behind(net)
    imitate(
        net,
        {layer: neurons for layer, (_, neurons) in zip(layers, followed, strict=True)},
        normalizations=behind,
        classifier=classifier,
        outputs=original.outputs,
        batch=batch,
        seed=seed,
    )


def _known(net: Network) -> list[nn.Module]:
    """Layers and modules that have parameters of their own, in the order of the pass."""
    kinds = (*PRODUCTS, *NORMALIZATIONS, StochasticLayer)
    inside = {layer.product for _, layer in stochastic_layers(net)}
    return [module for module in net.modules() if isinstance(module, kinds) and module not in inside]


def _real(net: Network) -> list[nn.Module]:
    """What stands before the first stochastic layer, or, in a twin, all that is known."""
    known = _known(net)
    places = [i for i, module in enumerate(known) if isinstance(module, StochasticLayer)]
    return known[: places[0]] if places else known


def _behind(net: Network) -> list[nn.Module]:
    """What stands behind the last stochastic layer: normalizations and the classifier."""
    known = _known(net)
    last = max(i for i, module in enumerate(known) if isinstance(module, StochasticLayer))
    return known[last + 1 :]
