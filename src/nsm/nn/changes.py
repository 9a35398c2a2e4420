"""What was given to one module alone, so that it does not do what its class does."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.prune import BasePruningMethod


def change_of(module: nn.Module) -> str | None:
    """A forward or a hook that ``module`` has and its class has not, in words; None if there is none.

    The hooks of torch's pruning do not count: they make a weight, and change nothing that is passed on.
    """
    if "forward" in vars(module):
        return "a forward of its own"
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]  # noqa: SLF001
    if not all(isinstance(hook, BasePruningMethod) for hook in hooks):
        return "a hook, which could change what it receives or gives"
    return None
