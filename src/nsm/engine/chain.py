"""The chain of modules that a network is, what it receives, and which of them do what their class does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn

from nsm.engine.steps import Shape
from nsm.nn import Conv2d, Drawing, Linear
from nsm.nn.changes import change_of


class CompileError(ValueError):
    """A network that has no integer program: the message names the module and the reason."""


@contextmanager
def named(name: str, module: nn.Module) -> Iterator[None]:
    """Let a CompileError raised inside the block say which module it is about."""
    try:
        yield
    except CompileError as error:
        raise CompileError(f"{name} ({type(module).__name__}) cannot be compiled: {error}") from None


def chain(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules that data goes through one after another, with their names.

    Raises:
        CompileError: naming a sequence of modules that does more than to call one after another.
    """
    if type(module).forward is nn.Sequential.forward:
        with named(name or "net", module):
            _check_own(module)
        for key, child in module._modules.items():  # noqa: SLF001 (named_children leaves out repeated ones)
            if child is not None:
                yield from chain(child, f"{name}.{key}" if name else key)
    else:
        yield name or "net", module


def check_plain(module: nn.Module, before: Sequence[tuple[str, nn.Module]]) -> None:
    """Refuse what does something else than its class, by a forward of its own or by hooks, and neurons that
    came before.
    """
    if isinstance(module, Drawing) and any(module is other for _, other in before):
        raise CompileError("it stands in more than one place, and would draw the same numbers in each")
    for part in module.modules():
        owner = next(kind for kind in type(part).__mro__ if "forward" in vars(kind))
        if not owner.__module__.startswith(("torch.nn.", "nsm.nn.")):
            raise CompileError(f"{owner.__name__} has a forward of its own")
        _check_own(part)


def _check_own(module: nn.Module) -> None:
    """Refuse a forward or hooks that were given to this one module."""
    if change := change_of(module):
        raise CompileError(f"it has {change}")


def input_shape(
    net: nn.Module, modules: Sequence[tuple[str, nn.Module]], image: Shape | None
) -> tuple[Shape, bool]:
    """(channels, height, width), and whether inputs are vectors.

    Raises:
        ValueError: if ``image`` is not of three positive numbers, or neither it nor the network tells them.
    """
    given = getattr(net, "image", None) if image is None else image
    if given is None:
        products = [m.product if isinstance(m, Linear) else m for _, m in modules]
        widths = [product.in_features for product in products if isinstance(product, nn.Linear)]
        convolutions = any(isinstance(m, Conv2d | nn.Conv2d) for _, m in modules)
        if not widths or convolutions:
            raise ValueError("image must be given, (channels, height, width) of an input, for this network")
        return (widths[0], 1, 1), True
    if not (
        isinstance(given, tuple)
        and len(given) == 3
        and all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in given)
    ):
        raise ValueError(f"image must be three positive numbers, (channels, height, width), got {given!r}")
    return given, False
