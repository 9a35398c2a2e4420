"""Setting the weights, gains and biases of stochastic layers so that they follow a conventional network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nsm.nn.calibration import enough, fit_gain, set_in_order
from nsm.nn.draws import sample_outputs
from nsm.nn.layer import StochasticLayer
from nsm.nn.least_squares import fit_weights
from nsm.nn.original import NORMALIZATIONS, PRODUCTS, Neurons

# Samples of every calibration input over which the classifier's outputs are averaged.
_MATCHING = 16
# Standard deviation of s where the activation has no slope at 0. Larger ones are closer to the original at
# once, smaller ones learn on more easily.
_SPREAD = 2.0


def imitate(
    net: nn.Module,
    targets: Mapping[StochasticLayer, Neurons],
    *,
    normalizations: Iterable[nn.Module],
    classifier: nn.Module,
    outputs: Tensor,
    batch: Tensor,
    seed: int,
) -> None:
    """Layer by layer, in the order in which data meets them, give every neuron the weights, the gain and the
    bias of least squares on samples of the batch, in place: its s follows the original's preactivation, given
    what the neuron receives now. A layer that receives what the original did keeps its weights.

    Args:
        net: the network; every stochastic layer has its target.
        targets: the neurons that each layer follows.
        normalizations: of ``net``, between its last stochastic layer and the classifier: their statistics are
            taken anew.
        classifier: of ``net``: follows ``outputs`` in the same way.
        outputs: what the original's classifier gave.
        batch: inputs (N, ...), those that the original was read with.
        seed: seed of the draws.
    """

    def follow(layer: StochasticLayer, x: Tensor) -> None:
        neurons = targets[layer]
        count = enough(layer, x)
        known = torch.equal(x, neurons.received)
        x, preactivation = x[:count], neurons.preactivation[:count]
        if not known:
            fit_weights(layer.product, x, preactivation)

        def wanted_s(_layer: StochasticLayer, _argument: Tensor, _like: Tensor) -> Tensor:
            wanted = layer.flatten(preactivation).double()
            return wanted * (
                _SPREAD / wanted.std((0, 1), correction=0) if neurons.slope is None else neurons.slope
            )

        fit_gain(layer, x, wanted_s)

    with evaluating(net):
        set_in_order(net, batch, follow, seed=seed)
        for module in normalizations:
            _renormalize(module, net, batch, seed)
        _match_classifier(classifier, outputs, net, batch, seed)


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """The network in evaluation inside the block, and as it was behind it."""
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _match_classifier(head: nn.Module, outputs: Tensor, net: nn.Module, batch: Tensor, seed: int) -> None:
    assert isinstance(head, PRODUCTS)
    receives, gives = _sampled(head, net, batch, seed)
    wanted = outputs.repeat_interleave(len(gives) // len(outputs), dim=0)
    fit_weights(head, receives, wanted)
    if head.bias is None:
        return
    channel = wanted.dim() - 1 if isinstance(head, nn.Linear) else 1
    others = [dim for dim in range(wanted.dim()) if dim != channel]
    with torch.no_grad():
        head.bias += (wanted - head(receives)).mean(others)


def _renormalize(module: nn.Module, net: nn.Module, batch: Tensor, seed: int) -> None:
    """Take the statistics of a batch normalization from samples of what it receives now."""
    assert isinstance(module, NORMALIZATIONS)
    if module.running_mean is None or module.running_var is None:
        return
    receives, _ = _sampled(module, net, batch, seed)
    others = [dim for dim in range(receives.dim()) if dim != 1]
    variance, mean = torch.var_mean(receives, others)
    module.running_mean.copy_(mean)
    module.running_var.copy_(variance)


def _sampled(module: nn.Module, net: nn.Module, batch: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """What one of the modules receives and gives over some samples of a batch."""
    seen: list[tuple[Tensor, Tensor]] = []
    inputs = torch.arange(len(batch), device=batch.device)
    handle = module.register_forward_hook(lambda _, received, output: seen.append((received[0], output)))
    try:
        with torch.no_grad():
            sample_outputs(net, batch, seed=seed, samples=torch.arange(_MATCHING), inputs=inputs)
    finally:
        handle.remove()
    return seen[0]
