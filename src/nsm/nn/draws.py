"""Fixing the draws of one pass of a whole network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nsm import random
from nsm.nn.context import one_pass
from nsm.nn.drawing import Drawing
from nsm.nn.layer import StochasticLayer
from nsm.nn.residual import Residual


def stochastic_layers(net: nn.Module) -> list[tuple[str, StochasticLayer]]:
    """Names and stochastic layers of ``net`` in the order of ``named_modules``."""
    return [(name, module) for name, module in net.named_modules() if isinstance(module, StochasticLayer)]


def is_stochastic(net: nn.Module) -> bool:
    """Whether a pass through ``net`` draws anything, at the fidelity in force."""
    return any(module.is_drawing() for module in _drawing_modules(net))


def most_samples(net: nn.Module) -> int | None:
    """How many samples of an input ``net`` has; None for any number."""
    return min((m.most_samples for m in _drawing_modules(net) if m.most_samples is not None), default=None)


def _drawing_modules(net: nn.Module) -> list[Drawing]:
    return [module for module in net.modules() if isinstance(module, Drawing)]


@contextmanager
def draws(net: nn.Module, *, seed: int | Tensor, samples: int | Tensor, inputs: Tensor) -> Iterator[None]:
    """Fix every draw of one forward pass of ``net``: a function of seed, layer, sample, input and element
    alone.

    Modules that draw are numbered in the order of ``net.modules()``. A layer applied several times in the
    pass draws afresh each time. When the tensor that reaches a layer has N rows and the pass covers R = k N,
    the layer draws k samples of each row: row r of its output belongs to row r // k of its input. A network
    that is a chain of modules can therefore be given each input once and asked for k samples of it.

    The block is one pass. What computes a part of it again, as activation checkpointing does in the backward
    pass, would draw other numbers there: open the block within the function that is checkpointed, or do
    without it, where every use draws its own seed from torch's generator, which checkpointing restores.

    Args:
        net: the network that the block calls once.
        seed: integer in [0, 2^63) or int64 scalar tensor.
        samples: sample index of each row, (R,) or one number for all; in [0, 2^32).
        inputs: input index of each row, int64 (R,); in [0, 2^32).

    Raises:
        ValueError: if ``samples`` and ``inputs`` do not have as many rows, or ``seed`` is out of range.
    """
    if isinstance(samples, Tensor) and samples.dim() and samples.shape != inputs.shape:
        raise ValueError(
            f"samples must be one number or one for each of the {len(inputs)} rows of inputs, "
            f"got a tensor of shape {tuple(samples.shape)}"
        )
    modules = _drawing_modules(net)
    before = [module.index for module in modules]
    seed = torch.as_tensor(seed if isinstance(seed, Tensor) else random.resolve_seed(seed))
    rows = random.row_indices(samples, inputs)
    _number(modules, range(len(modules)))
    try:
        with one_pass(seed, rows):
            yield
    finally:
        _number(modules, before)


def _number(modules: Sequence[Drawing], numbers: Sequence[int]) -> None:
    for module, number in zip(modules, numbers, strict=True):
        module.index = number


def is_chain(net: nn.Module) -> bool:
    """Whether the batch may grow at any module on the way through ``net`` that draws.

    True for a module that draws, a module without any inside, a :class:`nsm.nn.Residual`, and an
    ``nn.Sequential`` of such without hooks: one tensor goes from one to the next. Another module that
    combines tensors around a stochastic layer, such as one whose ``forward`` was replaced, is no chain.
    """
    if not _drawing_modules(net):
        return True
    if "forward" in vars(net):
        return False
    if isinstance(net, Drawing | Residual):
        return True
    hooked = net._forward_hooks or net._forward_pre_hooks  # noqa: SLF001
    plain = type(net).forward is nn.Sequential.forward and not hooked
    return plain and all(is_chain(child) for child in net.children())


def sample_outputs(
    net: nn.Module, x: Tensor, *, seed: int | Tensor, samples: Tensor, inputs: Tensor
) -> Tensor:
    """One pass that gives several samples of the network's output for every input.

    In a chain (``nn.Sequential`` all the way down) everything before the first draw, its product included, is
    computed once per input and shared by the samples; any other network receives each input once per sample.

    Args:
        net: a network that maps (N, ...) to (N, ...).
        x: (N, ...), inputs.
        seed: integer in [0, 2^63) or int64 scalar tensor.
        samples: int64 (S,), sample indices to draw for every input, in [0, 2^32).
        inputs: int64 (N,), the inputs' own indices, in [0, 2^32).

    Returns:
        (N, S, ...).

    Raises:
        ValueError: if ``net`` returns anything but a tensor of one row for each sample of each input.
    """
    repeat = len(samples)
    rows = inputs.repeat_interleave(repeat)
    shared = is_chain(net) and bool(_drawing_modules(net))
    with draws(net, seed=seed, samples=samples.repeat(len(inputs)), inputs=rows):
        outputs: object = net(x if shared else x.repeat_interleave(repeat, dim=0))
    if not isinstance(outputs, Tensor) or outputs.shape[:1] != rows.shape:
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(f"net must return one tensor of {len(rows)} rows for as many inputs, got {got}")
    return outputs.view(len(inputs), repeat, *outputs.shape[1:])
