"""Weights that torch's pruning makes anew in front of each pass, and that are stale until then."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn.utils.prune import BasePruningMethod


def refresh(net: nn.Module) -> None:
    """Make the pruned weights of ``net`` from what it learned or loaded last, as its next pass would."""
    for module, hook in _prunings(net):
        hook(module, None)


def copied(net: nn.Module) -> nn.Module:
    """A deep copy of ``net`` with its pruned weights as they are now; ``net`` is left as it is."""
    # Torch copies no tensor that has a history, as a pruned weight has behind a pass with gradients.
    now: dict[int, Tensor] = {}
    for module, hook in _prunings(net):
        weight: Tensor = hook.apply_mask(module)  # type: ignore[no-untyped-call]
        now[id(getattr(module, hook._tensor_name))] = weight.detach()  # noqa: SLF001
    return copy.deepcopy(net, now)


def _prunings(net: nn.Module) -> list[tuple[nn.Module, BasePruningMethod]]:
    return [
        (module, hook)
        for module in net.modules()
        for hook in module._forward_pre_hooks.values()  # noqa: SLF001
        if isinstance(hook, BasePruningMethod)
    ]
