"""Finding where a value that is not finite came from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nsm.nn import StochasticLayer


def all_finite(net: nn.Module) -> bool:
    """Whether all parameters and floating-point buffers of ``net`` are finite."""
    return all(value.isfinite().all() for value in net.state_dict().values())


def first_not_finite(net: nn.Module, forward: Callable[[], object]) -> str:
    """The first layer with a parameter, output or gradient that is not finite, in words.

    Parameters are searched first, then outputs in the order of the forward pass, then gradients in the order
    of the backward pass.

    Args:
        net: the network, with the gradients of the step in question.
        forward: repeats the step's forward pass through ``net``.
    """
    for name, value in net.state_dict().items():
        if not value.isfinite().all():
            return f"parameter {_place(net, name)}"
    output = _first_output(net, forward)
    if output is not None:
        return f"the output of {output}"
    for name, parameter in reversed(list(net.named_parameters())):
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            return f"the gradient of {_place(net, name)}"
    return "the loss or the gradient's norm, beyond the range of float32"


@torch.no_grad()
def _first_output(net: nn.Module, forward: Callable[[], object]) -> str | None:
    found: list[str] = []

    def watch(name: str, module: nn.Module) -> Callable[[nn.Module, object, Tensor], None]:
        def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            if not found and not output.isfinite().all():
                found.append(f"layer {name} ({type(module).__name__})")

        return hook

    handles = [
        module.register_forward_hook(watch(name, module))
        for name, module in net.named_modules()
        if isinstance(module, StochasticLayer) or not list(module.children())
    ]
    try:
        forward()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else None


def _place(net: nn.Module, name: str) -> str:
    """A parameter's name with the layer that it belongs to."""
    parts = name.split(".")
    owners = [".".join(parts[:end]) for end in range(1, len(parts))]
    layers = (owner for owner in owners if isinstance(net.get_submodule(owner), StochasticLayer))
    owner = next(layers, owners[-1] if owners else "")
    inner = name.removeprefix(f"{owner}.") if owner else name
    return f"{inner} of layer {owner or 'net'} ({type(net.get_submodule(owner)).__name__})"
