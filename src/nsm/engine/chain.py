"""The chain of modules that a network is, and which of them do what their class does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn
from torch.nn.utils.prune import BasePruningMethod

from nsm.nn import Drawing


class CompileError(ValueError):
    """A network that has no integer program: the message names the module and the reason."""


def chain(module: nn.Module, name: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules that data goes through one after another, with their names."""
    if type(module).forward is nn.Sequential.forward:
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
        hooks = [*part._forward_hooks.values(), *part._forward_pre_hooks.values()]  # noqa: SLF001
        if not all(isinstance(hook, BasePruningMethod) for hook in hooks):
            raise CompileError("it has a hook, which could change what it receives or gives")
