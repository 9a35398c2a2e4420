"""Weights that torch's pruning makes anew in front of each pass, and that are stale until then."""

from __future__ import annotations

from torch import nn
from torch.nn.utils.prune import BasePruningMethod


def refresh(net: nn.Module) -> None:
    """Make the pruned weights of ``net`` from what it learned or loaded last, as its next pass would."""
    for module, hook in _prunings(net):
        hook(module, None)


def _prunings(net: nn.Module) -> list[tuple[nn.Module, BasePruningMethod]]:
    return [
        (module, hook)
        for module in net.modules()
        for hook in module._forward_pre_hooks.values()  # noqa: SLF001
        if isinstance(hook, BasePruningMethod)
    ]
