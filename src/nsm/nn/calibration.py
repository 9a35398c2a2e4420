"""Setting gains and biases from a batch of data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nsm.nn.checks import check_batch, check_net, check_positive
from nsm.nn.draws import draws, stochastic_layers
from nsm.nn.layer import StochasticLayer

Target = Callable[[StochasticLayer, Tensor, Tensor], Tensor]

# s beyond which erf is 1 to float32, and halvings of that range: offsets are found to a thousandth.
_SATURATED = 4.0
_HALVINGS = 13
# Neurons at all positions of all inputs that a layer is set by: with many positions, a part of the inputs
# says enough, and float64 takes memory.
_ENOUGH = 2**21


def calibrate(net: nn.Module, batch: Tensor, *, spread: float = 1.0, seed: int = 0) -> None:
    """Data-dependent initialisation, in place: on a batch, every neuron's s gets the standard deviation
    ``spread``, and a mean for which what leaves the layer is +1 and -1 equally often.

    Behind real inputs, whose noise differs from input to input, gain and bias come as near to that as least
    squares of s: the standard deviation is then a smaller one.

    For a neuron that is not pooled that mean is 0 or close to it; neurons that are pooled by their maximum
    start below 0, or the maximum would hardly ever be -1. The neurons of a population start in a row below
    the mean that a single one would have, see :meth:`nsm.nn.StochasticLayer.in_a_row`. A standardized layer
    counts from the batch until it learns.

    Layers are set in the order in which data meets them, each on samples of the layers before it, so that no
    layer starts saturated or undecided however deep the network is. Neurons whose preactivation does not vary
    keep their gain and bias. Batch normalizations that learn see the batch once, as in a step of training.

    Args:
        net: a network with stochastic layers.
        batch: inputs (N, ...) of the network.
        spread: standard deviation of s over the batch and positions, > 0.
        seed: seed of the draws, in [0, 2^63).

    Raises:
        ValueError: if ``spread`` is not positive and finite, or ``batch`` empty or not finite.
        TypeError: if ``net`` is not a module, ``batch`` no floating-point tensor or ``spread`` no number.
    """
    check_net(net)
    check_batch(batch, "batch")
    check_positive(spread, "spread")

    def balanced(layer: StochasticLayer, argument: Tensor, like: Tensor) -> Tensor:
        deviation, mean = torch.std_mean(argument, dim=(0, 1), correction=0)

        def s() -> Tensor:
            return (argument - mean).mul_(spread / deviation)

        # Made twice, so that it is not held in float64 meanwhile.
        offset = _balance(layer, s().float(), like)
        return s().add_(offset)

    set_in_order(net, batch, lambda layer, x: fit_gain(layer, x[: enough(layer, x)], balanced), seed=seed)


def enough(layer: StochasticLayer, x: Tensor) -> int:
    """So many of a layer's inputs are enough to set it by."""
    neurons: int = layer.product(x[:1]).numel()
    return max(2, _ENOUGH // neurons)


def _balance(layer: StochasticLayer, s: Tensor, like: Tensor) -> Tensor:
    """The offset of s, (C,), at which the mean activity that leaves the layer is 0: by halving, since
    activity grows with s.
    """
    low, high = torch.full_like(s[0, 0], -_SATURATED), torch.full_like(s[0, 0], _SATURATED)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        active = layer.mean_activity(s + middle, like) > 0
        low, high = torch.where(active, low, middle), torch.where(active, middle, high)
    return (low + high) / 2


def set_in_order(
    net: nn.Module, batch: Tensor, action: Callable[[StochasticLayer, Tensor], None], *, seed: int
) -> None:
    """One pass in which ``action(layer, input)`` sets each layer before it answers."""
    one_pass = draws(net, seed=seed, samples=0, inputs=torch.arange(len(batch), device=batch.device))
    with torch.no_grad(), one_pass, before_each_layer(net, action):
        net(batch)


@contextmanager
def before_each_layer(net: nn.Module, action: Callable[[StochasticLayer, Tensor], None]) -> Iterator[None]:
    """Call ``action(layer, input)`` before each stochastic layer that runs inside the block."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, StochasticLayer)
        action(module, inputs[0])

    handles = [layer.register_forward_pre_hook(hook) for _, layer in stochastic_layers(net)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def fit_gain(layer: StochasticLayer, x: Tensor, target: Target) -> None:
    """Set a layer's gain and bias so that s fits a target in least squares over a batch, in place.

    With r = 1/sqrt(2 Var[u]), s = gain (w.z) r + b r is linear in gain and bias, whether or not Var[u]
    depends on the input.

    Args:
        layer: the stochastic layer.
        x: its inputs (N, ...).
        target: from the layer, (w.z) r of shape (N, P, C) and the product in output layout to the wanted s,
            (N, P, C).
    """
    like = layer.product(x)
    if layer.standardized:
        layer.take_statistics(x, layer.flatten(like))
    variance = layer.variance(x).double()
    rate = torch.where(variance > 0, torch.rsqrt(2.0 * variance), 0.0)
    del variance
    # In place: a convolution's tensors are large in float64.
    direction = layer.flatten(like).double().mul_(rate)
    rate = rate.expand_as(direction)
    wanted = target(layer, direction, like)

    def inner(left: Tensor, right: Tensor) -> Tensor:
        return (left * right).sum((0, 1))

    dd, dr, rr = inner(direction, direction), inner(direction, rate), inner(rate, rate)
    dt, rt = inner(direction, wanted), inner(rate, wanted)
    if layer.bias is None:
        gain, bias, known = dt / dd, torch.zeros_like(dt), dd > 0
    else:
        determinant = dd * rr - dr * dr
        gain, bias = (rr * dt - dr * rt) / determinant, (dd * rt - dr * dt) / determinant
        # A neuron whose product does not vary on the batch says nothing about its gain.
        known = determinant > 1e-9 * dd * rr
    known = known & gain.isfinite() & bias.isfinite()
    before = layer.neurons()
    gain = torch.where(known, gain, before.gain)
    if layer.bias is None:
        layer.adopt(gain, None)
        return
    row = layer.in_a_row(bias, rate.mean((0, 1)).reciprocal(), wanted.std((0, 1), correction=0))
    layer.adopt(gain, torch.where(known, row, torch.stack(before.biases).view_as(row)))
