"""Turning a trained conventional network into a Neural Sampling Machine."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from nsm.functional import Estimator
from nsm.nn.calibration import before_each_layer
from nsm.nn.checks import check_batch, check_net
from nsm.nn.context import Fidelity
from nsm.nn.conv import Conv1d, Conv2d, Conv3d
from nsm.nn.draws import draws
from nsm.nn.imitation import evaluating, imitate
from nsm.nn.layer import StochasticLayer
from nsm.nn.linear import Linear
from nsm.nn.original import DROPOUTS, PRODUCTS, Neurons, read
from nsm.nn.pruning import copied
from nsm.noise import NoiseLaw


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
    what it received before keeps its weights. Weight normalization, pruning and other parametrizations are
    resolved into the weights, and are gone. Signs say less than rectified numbers: with few layers the result
    is nearly as accurate as the original, with many it has to be trained on [N19, starred rows of its table].

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
        TypeError: if ``net`` is not a module, or ``calibration`` no floating-point tensor.
    """
    check_net(net)
    check_batch(calibration, "calibration", least=2)
    result = copied(net)
    original = read(result, calibration)
    targets: dict[StochasticLayer, Neurons] = {}
    # Spectral normalization takes a step whenever it is looked at in training.
    with evaluating(result):
        for name, neurons in original.neurons.items():
            layer = _stochastic(result.get_submodule(name), noise, fidelity, estimator)
            _replace(result, result.get_submodule(name), layer)
            for absorbed in neurons.absorbed:
                _replace(result, result.get_submodule(absorbed), nn.Identity())
            targets[layer] = neurons
        classifier = result.get_submodule(original.classifier)
        if _is_computed(classifier):
            _replace(result, classifier, _plain(classifier, bias=classifier.bias is not None))
    for module in [module for module in result.modules() if isinstance(module, DROPOUTS)]:
        _replace(result, module, nn.Identity())
    with evaluating(result):
        _mark_binary_inputs(result, calibration, seed)
    imitate(
        result,
        targets,
        normalizations=[result.get_submodule(name) for name in original.normalizations],
        classifier=result.get_submodule(original.classifier),
        outputs=original.outputs,
        batch=calibration,
        seed=seed,
    )
    return result


def _replace(net: nn.Module, old: nn.Module, new: nn.Module) -> None:
    for name, module in list(net.named_modules(remove_duplicate=False)):
        if module is old:
            net.set_submodule(name, new)


def _stochastic(
    module: nn.Module, noise: NoiseLaw, fidelity: Fidelity, estimator: Estimator
) -> StochasticLayer:
    kind = next(kind for kind in _LAYERS if isinstance(module, kind))
    # What the normalization shifted, a bias must now shift.
    plain = _plain(module, bias=True)
    return _LAYERS[kind].from_product(plain, noise=noise, fidelity=fidelity, estimator=estimator)


def _is_computed(module: nn.Module) -> bool:
    """Whether its weight or bias is made from other parameters."""
    own = dict(module.named_parameters(recurse=False))
    return any(getattr(module, name) is not None and name not in own for name in ("weight", "bias"))


def _plain(module: nn.Module, *, bias: bool) -> Any:
    """A fresh module of the same product: parametrizations such as weight normalization live in the class,
    which a copy would share. A bias that the other does not have is 0.
    """
    assert isinstance(module, PRODUCTS)
    plain = _fresh(module, bias=bias)
    with torch.no_grad():
        plain.weight.copy_(module.weight)
        if bias:
            plain.bias.copy_(0.0 if module.bias is None else module.bias)
    return plain


def _fresh(module: nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d, *, bias: bool) -> Any:
    where: dict[str, Any] = {"bias": bias, "device": module.weight.device, "dtype": module.weight.dtype}
    if isinstance(module, nn.Linear):
        return nn.Linear(module.in_features, module.out_features, **where)
    kind: Any = next(kind for kind in PRODUCTS if isinstance(module, kind))
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

    inputs = torch.arange(len(batch), device=batch.device)
    with torch.no_grad(), before_each_layer(net, mark), draws(net, seed=seed, samples=0, inputs=inputs):
        net(batch)


_LAYERS: dict[type[nn.Module], type[StochasticLayer]] = {
    nn.Linear: Linear,
    nn.Conv1d: Conv1d,
    nn.Conv2d: Conv2d,
    nn.Conv3d: Conv3d,
}
