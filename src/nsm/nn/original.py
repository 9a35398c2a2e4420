"""Reading a conventional network: its neurons, layer by layer, and their preactivations on a batch."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

PRODUCTS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMALIZATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
_ABSORBED = (*NORMALIZATIONS, *DROPOUTS, nn.Identity)
# s per unit of the activation's input: erf(s) then has the slope that the activation, scaled to [-1, 1], has
# at 0. A rectifier has no such slope; the standard deviation of s is set instead.
_SLOPES: dict[type[nn.Module], float | None] = {
    nn.Tanh: math.sqrt(math.pi) / 2,
    nn.Sigmoid: math.sqrt(math.pi) / 4,
    nn.ReLU: None,
}


@dataclass(frozen=True)
class Neurons:
    """Those of one layer.

    Attributes:
        received: what their product received on the batch.
        absorbed: names of the modules between the product and its activation, and of that.
        slope: s per unit of the preactivation; None where its standard deviation is set instead.
        preactivation: what the activation received.
    """

    received: Tensor
    absorbed: tuple[str, ...]
    slope: float | None
    preactivation: Tensor


class Original(NamedTuple):
    """A conventional network as a batch has met it.

    Attributes:
        neurons: by the name of their product, in the order of the pass.
        normalizations: names of those between the last neurons and the classifier.
        classifier: its name.
        outputs: what the classifier gave.
    """

    neurons: Mapping[str, Neurons]
    normalizations: tuple[str, ...]
    classifier: str
    outputs: Tensor


class _Call(NamedTuple):
    module: nn.Module
    name: str
    received: Tensor
    gave: Tensor


def read(net: nn.Module, batch: Tensor) -> Original:
    """What a network of products, absorbable modules and activations does on a batch; it is left as it is.

    Raises:
        ValueError: naming every module that no Neural Sampling Machine has a place for, and why.
    """
    net = copy.deepcopy(net)
    for module in net.modules():
        # An in-place activation would overwrite the preactivations that are read.
        if isinstance(module, nn.ReLU):
            module.inplace = False
    return _chains(_record(net.eval(), batch))


def _record(net: nn.Module, batch: Tensor) -> list[_Call]:
    calls: list[_Call] = []
    names = {module: name for name, module in net.named_modules()}

    def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
            calls.append(_Call(module, names[module], inputs[0], output))

    # Parametrized modules have children of their own; what counts as one step is a product or a module
    # without children.
    leaves = [m for m in net.modules() if isinstance(m, PRODUCTS) or not any(True for _ in m.children())]
    handles = [module.register_forward_hook(hook) for module in leaves]
    try:
        with torch.no_grad():
            net(batch)
    finally:
        for handle in handles:
            handle.remove()
    return calls


def _chains(calls: list[_Call]) -> Original:
    products = [i for i, call in enumerate(calls) if isinstance(call.module, PRODUCTS)]
    if len(products) < 2:
        raise ValueError("net must have at least one Linear or Conv layer before its classifier")
    neurons: dict[str, Neurons] = {}
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
        neurons[call.name] = Neurons(call.received, names, _SLOPES[type(end.module)], end.received)
        used += chain
    last = max((i for i, call in enumerate(calls) if any(call is other for other in used)), default=0)
    front, behind = calls[: products[0]], calls[last + 1 : products[-1]]
    kept = [call for call in (*front, *behind) if isinstance(call.module, NORMALIZATIONS)]
    problems += _leftovers(call for call in calls if not any(call is other for other in (*used, *kept)))
    if problems:
        raise ValueError("cannot convert: " + "; ".join(dict.fromkeys(problems)))
    normalizations = tuple(call.name for call in behind if isinstance(call.module, NORMALIZATIONS))
    classifier = calls[products[-1]]
    return Original(neurons, normalizations, classifier.name, classifier.gave)


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
        if isinstance(call.module, NORMALIZATIONS):
            problems.append(
                f"{what}: a normalization must stand between a product and its activation, or before the "
                "first product or the classifier"
            )
        elif type(call.module) in _SLOPES:
            problems.append(f"{what}: an activation whose input is not the output of a Linear or Conv module")
        elif not isinstance(call.module, PRODUCTS) and any(True for _ in call.module.parameters()):
            problems.append(
                f"{what}: has parameters; only Linear, Conv and batch normalization can be converted"
            )
    return problems
