"""Turning a trained conventional network into a Neural Sampling Machine."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nsm.functional import Estimator
from nsm.nn.calibration import before_each_layer, fit_gain, set_in_order
from nsm.nn.checks import check_batch
from nsm.nn.context import Fidelity
from nsm.nn.conv import Conv1d, Conv2d, Conv3d
from nsm.nn.draws import draws, sample_outputs
from nsm.nn.layer import StochasticLayer
from nsm.nn.least_squares import fit_weights
from nsm.nn.linear import Linear
from nsm.noise import NoiseLaw

_PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMALIZATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_ABSORBED = (*_NORMALIZATIONS, *_DROPOUTS, nn.Identity)
# Samples of every calibration input over which the classifier's outputs are averaged.
_MATCHING = 16
# s per unit of the activation's input: erf(s) then has the slope that the activation, scaled to [-1, 1], has
# at 0. A rectifier has no such slope; the standard deviation of s is set instead. Larger ones are closer to
# the original at once, smaller ones learn on more easily.
_SPREAD = 2.0
_SLOPES: dict[type[nn.Module], float | None] = {
    nn.Tanh: math.sqrt(math.pi) / 2,
    nn.Sigmoid: math.sqrt(math.pi) / 4,
    nn.ReLU: None,
}


@dataclass
class _Call:
    module: nn.Module
    name: str
    received: Tensor
    gave: Tensor


@dataclass(frozen=True)
class _Neuron:
    """One product and what it became: its input on the batch, the activation that ends its chain, and that
    activation's input.
    """

    received: Tensor
    absorbed: tuple[str, ...]
    slope: float | None
    preactivation: Tensor


def convert(
    net: nn.Module,
    *,
    noise: NoiseLaw,
    calibration: Tensor,
    fidelity: Fidelity = "moment",
    estimator: Estimator = "probability",
    seed: int = 0,
) -> nn.Module:
    """A Neural Sampling Machine that follows a conventional network; ``net`` itself is left as it is.

    Each linear or convolutional module followed by an activation (ReLU, Sigmoid or Tanh; batch normalization
    and dropout in between) becomes a stochastic layer: normalization and activation are absorbed, dropout is
    dropped, since the synapses are noisy themselves. The last product, the classifier, stays conventional,
    and so do batch normalizations of the network's input and of the classifier's, whose statistics are taken
    anew. A layer whose inputs on the batch are all +-1 is marked ``binary_input``.

    Layer by layer, in the order in which data meets them, weights, gain and bias of every neuron are those of
    least squares on samples of the batch: its s follows the original's preactivation around the activation's
    midpoint 0, given what the neuron receives now, which are signs where the original had real activations.
    The classifier's weights and bias follow the original's outputs in the same way. A layer that receives
    what it received before keeps its weights (weight normalization is resolved into them). Signs say less
    than rectified numbers: with few layers the result is nearly as accurate as the original, with many it has
    to be trained on [N19, starred rows of its table].

    Args:
        net: the trained network, in any nesting of modules; activations must be modules, which is how they
            are found.
        noise: law of the multiplicative noise.
        calibration: one batch of finite inputs (N, ...), N >= 2, of what the original learned; a few hundred
            are enough, a thousand are better.
        fidelity: of the new layers.
        estimator: of the new layers.
        seed: seed of the draws made while calibrating.

    Returns:
        A new module of the same structure; absorbed modules are ``nn.Identity``, parameter names of products
        gain ``product.``.

    Raises:
        ValueError: naming every module that cannot be converted and why, or if ``calibration`` is no such
            batch.
        TypeError: if ``calibration`` is no floating-point tensor.
    """
    check_batch(calibration, "calibration", least=2)
    original = copy.deepcopy(net)
    for module in original.modules():
        # An in-place activation would overwrite the preactivations that are read below.
        if isinstance(module, nn.ReLU):
            module.inplace = False
    calls = _record(original.eval(), calibration)
    neurons, behind, head = _chains(calls)
    result = copy.deepcopy(net)
    targets: dict[StochasticLayer, _Neuron] = {}
    for name, neuron in neurons.items():
        layer = _stochastic(result.get_submodule(name), noise, fidelity, estimator)
        _replace(result, result.get_submodule(name), layer)
        for absorbed in neuron.absorbed:
            _replace(result, result.get_submodule(absorbed), nn.Identity())
        targets[layer] = neuron
    for module in [module for module in result.modules() if isinstance(module, _DROPOUTS)]:
        _replace(result, module, nn.Identity())

    def follow(layer: StochasticLayer, x: Tensor) -> None:
        neuron = targets[layer]
        if not torch.equal(x, neuron.received):
            fit_weights(layer.product, x, neuron.preactivation)

        def wanted_s(_layer: StochasticLayer, _argument: Tensor, _like: Tensor) -> Tensor:
            wanted = layer.flatten(neuron.preactivation).double()
            return wanted * (
                _SPREAD / wanted.std((0, 1), correction=0) if neuron.slope is None else neuron.slope
            )

        fit_gain(layer, x, wanted_s)

    with _evaluating(result):
        _mark_binary_inputs(result, calibration, seed)
        set_in_order(result, calibration, follow, seed=seed)
        for call in behind:
            _renormalize(result.get_submodule(call.name), result, calibration, seed)
        _match_classifier(result, head, calibration, seed)
    return result


@contextmanager
def _evaluating(net: nn.Module) -> Iterator[None]:
    modes = {module: module.training for module in net.modules()}
    net.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _replace(net: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for name, module in list(net.named_modules(remove_duplicate=False)):
        if module is old:
            net.set_submodule(name, new)


def _record(net: nn.Module, batch: Tensor) -> list[_Call]:
    calls: list[_Call] = []
    names = {module: name for name, module in net.named_modules()}

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
            calls.append(_Call(module, names[module], inputs[0], output))

    # Parametrized modules have children of their own; what counts as one step is a product or a module
    # without children.
    leaves = [m for m in net.modules() if isinstance(m, _PRODUCTS) or not any(True for _ in m.children())]
    handles = [module.register_forward_hook(hook) for module in leaves]
    try:
        with torch.no_grad():
            net(batch)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _chains(calls: list[_Call]) -> tuple[Mapping[str, _Neuron], list[_Call], _Call]:
    """The neurons by the name of their product, the normalizations between the last of them and the
    classifier, and the classifier.
    """
    products = [i for i, call in enumerate(calls) if isinstance(call.module, _PRODUCTS)]
    if len(products) < 2:
        raise ValueError("net must have at least one Linear or Conv layer before its classifier")
    neurons: dict[str, _Neuron] = {}
    problems: list[str] = []
    used: list[_Call] = []
    for i in products[:-1]:
        call = calls[i]
        if call.name in neurons:
            problems.append(f"{call.name}: applied more than once in a pass")
            continue
        chain = _follow(calls, i)
        end = chain[-1] if chain else None
        if end is None or type(end.module) not in _SLOPES:
            after = "no module" if end is None else f"{end.name} ({type(end.module).__name__})"
            problems.append(
                f"{call.name} ({type(call.module).__name__}): followed by {after}, not by a ReLU, Sigmoid "
                "or Tanh module; an activation called as a function cannot be seen, write it as a module"
            )
            continue
        names = tuple(step.name for step in chain)
        neurons[call.name] = _Neuron(call.received, names, _SLOPES[type(end.module)], end.received)
        used += chain
    last = max((i for i, call in enumerate(calls) if any(call is other for other in used)), default=0)
    front, behind = calls[: products[0]], calls[last + 1 : products[-1]]
    kept = [call for call in (*front, *behind) if isinstance(call.module, _NORMALIZATIONS)]
    problems += _leftovers(call for call in calls if not any(call is other for other in (*used, *kept)))
    if problems:
        raise ValueError("cannot convert: " + "; ".join(dict.fromkeys(problems)))
    return neurons, [call for call in behind if isinstance(call.module, _NORMALIZATIONS)], calls[products[-1]]


def _follow(calls: list[_Call], start: int) -> list[_Call]:
    """The modules after a product up to its activation, or up to the first one that can't be absorbed."""
    chain: list[_Call] = []
    current = calls[start].gave
    for call in calls[start + 1 :]:
        if call.received is current:
            chain.append(call)
            if not isinstance(call.module, _ABSORBED):
                break
            current = call.gave
    return chain


def _leftovers(calls: Iterable[_Call]) -> list[str]:
    problems = []
    for call in calls:
        what = f"{call.name} ({type(call.module).__name__})"
        if isinstance(call.module, _NORMALIZATIONS):
            problems.append(
                f"{what}: a normalization must stand between a product and its activation, or before the "
                "first product or the classifier"
            )
        elif type(call.module) in _SLOPES:
            problems.append(f"{what}: an activation whose input is not the output of a Linear or Conv module")
        elif not isinstance(call.module, _PRODUCTS) and any(True for _ in call.module.parameters()):
            problems.append(
                f"{what}: has parameters; only Linear, Conv and batch normalization can be converted"
            )
    return problems


def _stochastic(
    module: nn.Module, noise: NoiseLaw, fidelity: Fidelity, estimator: Estimator
) -> StochasticLayer:
    assert isinstance(module, _PRODUCTS)
    kind = next(kind for kind in _LAYERS if isinstance(module, kind))
    # A fresh module: parametrizations such as weight normalization live in the class, which the original
    # shares.
    plain = _fresh(module)
    with torch.no_grad():
        plain.weight.copy_(module.weight)
        if module.bias is None:
            # What the normalization shifted, a bias must now shift.
            plain.bias.zero_()
        else:
            plain.bias.copy_(module.bias)
    return _LAYERS[kind].from_product(plain, noise=noise, fidelity=fidelity, estimator=estimator)


def _fresh(module: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) -> Any:
    where: dict[str, Any] = {"device": module.weight.device, "dtype": module.weight.dtype}
    if isinstance(module, nn.Linear):
        return nn.Linear(module.in_features, module.out_features, **where)
    kind: Any = next(kind for kind in _PRODUCTS if isinstance(module, kind))
    return kind(
        module.in_channels,
        module.out_channels,
        module.kernel_size,
        module.stride,
        module.padding,
        module.dilation,
        module.groups,
        padding_mode=module.padding_mode,
        **where,
    )


def _mark_binary_inputs(net: nn.Module, batch: Tensor, seed: int) -> None:
    def mark(layer: StochasticLayer, x: Tensor) -> None:
        layer.binary_input = bool((x.abs() == 1.0).all())

    with (
        torch.no_grad(),
        before_each_layer(net, mark),
        draws(net, seed=seed, samples=0, inputs=_positions(batch)),
    ):
        net(batch)


def _match_classifier(net: nn.Module, original: _Call, batch: Tensor, seed: int) -> None:
    head = net.get_submodule(original.name)
    assert isinstance(head, _PRODUCTS)
    receives, gives = _sampled(head, net, batch, seed)
    wanted = original.gave.repeat_interleave(len(gives) // len(original.gave), dim=0)
    fit_weights(head, receives, wanted)
    if head.bias is None:
        return
    channel = wanted.dim() - 1 if isinstance(head, nn.Linear) else 1
    others = [dim for dim in range(wanted.dim()) if dim != channel]
    with torch.no_grad():
        head.bias += (wanted - head(receives)).mean(others)


def _renormalize(module: nn.Module, net: nn.Module, batch: Tensor, seed: int) -> None:
    """Take the statistics of a batch normalization from samples of what it receives now."""
    assert isinstance(module, _NORMALIZATIONS)
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
    handle = module.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0], output)))
    try:
        with torch.no_grad():
            sample_outputs(net, batch, seed=seed, samples=torch.arange(_MATCHING), inputs=_positions(batch))
    finally:
        handle.remove()
    return seen[0]


def _positions(batch: Tensor) -> Tensor:
    return torch.arange(len(batch), device=batch.device)


_LAYERS: dict[type[nn.Module], type[StochasticLayer]] = {
    nn.Linear: Linear,
    nn.Conv1d: Conv1d,
    nn.Conv2d: Conv2d,
    nn.Conv3d: Conv3d,
}
