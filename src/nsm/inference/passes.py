"""How much one pass through a network may take, learned from the first ones."""

from __future__ import annotations

import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

_Result = TypeVar("_Result")

MIB = 2**20
# On a CPU larger passes are slower: their tensors no longer come from memory that was used before.
_FASTEST_ON_CPU = 32 * MIB
_MEASURED_PASSES = 2


class PassSize:
    """Inputs and samples that a pass may take so that its tensors fit a bound.

    The first two passes are measured. A tensor made from the input grows with inputs or with inputs times
    samples, so that f times the rows need f times as much at the most; what is made from the weights alone
    stays as it is. The first pass is to be small; the second then knows better how much the samples of an
    input share.

    Args:
        bound: bytes that the tensors of a pass may occupy together, >= 1.
        samples: samples wanted of every input, >= 1.
        device: where the passes run.

    Attributes:
        inputs: inputs that the next pass may take, >= 1; 0 before the first.
        samples: samples of each, >= 1; 0 before the first. They come before inputs: they share what the
            network computes before its first draw.
    """

    def __init__(self, bound: int, samples: int, device: torch.device) -> None:
        self.inputs = self.samples = 0
        self._bound = min(bound, _FASTEST_ON_CPU) if device.type == "cpu" else bound
        self._wanted = samples
        self._measured = 0

    def run(
        self, forward: Callable[[Tensor, Tensor, Tensor], _Result], x: Tensor, inputs: Tensor, indices: Tensor
    ) -> _Result:
        """``forward(x, inputs, indices)``, a pass over inputs (n, ...), their indices (n,) and samples
        ``indices`` (k,) of each.
        """
        if self._measured == _MEASURED_PASSES:
            return forward(x, inputs, indices)
        with _uncompiled(), LiveBytes(x, inputs, indices) as memory:
            result = forward(x, inputs, indices)
        self._measured += 1
        rows = len(x) * len(indices) * (self._bound - memory.fixed) // max(1, memory.growing)
        self.samples = min(self._wanted, max(1, rows))
        self.inputs = max(1, rows // self.samples)
        return result


@contextmanager
def evaluation_mode(net: nn.Module) -> Iterator[None]:
    """Every module of ``net`` in evaluation mode inside the block, and as it was after it; where several
    threads are inside at once, with one network or with networks that share modules, after the last of them.
    """
    modules = list(net.modules())
    with _lock:
        for module in modules:
            inside, training = _evaluating.get(module, (0, module.training))
            _evaluating[module] = (inside + 1, training)
        net.eval()
    try:
        yield
    finally:
        with _lock:
            for module in modules:
                inside, training = _evaluating.pop(module)
                if inside > 1:
                    _evaluating[module] = (inside - 1, training)
                elif training:
                    module.training = True


_lock = threading.Lock()
# How many blocks each module is in, and whether it was in training mode before the first.
_evaluating: weakref.WeakKeyDictionary[nn.Module, tuple[int, bool]] = weakref.WeakKeyDictionary()


def _uncompiled() -> AbstractContextManager[object]:
    """A compiled network run as plain torch: the compiler would refuse to trace what is counted, and would
    remember that refusal for every network made of the same modules.
    """
    # Slow to import, and already there if anything was compiled.
    compiler_used = "torch._dynamo" in sys.modules
    return torch.compiler.set_stance("force_eager") if compiler_used else nullcontext()


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made inside the block that are alive at the same time.

    Tensors that existed before are not counted, nor is the workspace inside a torch operator.

    Args:
        sources: tensors whose sizes grow with the rows of a pass.

    Attributes:
        growing: the most bytes, at any moment, of tensors made from the sources or from no tensor.
        fixed: the most bytes of the others, made from tensors such as weights alone.
    """

    def __init__(self, *sources: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.growing = self.fixed = 0
        self._live = {True: 0, False: 0}
        # Whether a storage holds what was made from the sources.
        self._known: Any = WeakIdKeyDictionary()
        for source in sources:
            self._known[source.untyped_storage()] = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator and count the storages that appear with its result."""
        kwargs = kwargs or {}
        sources = [
            self._known.setdefault(tensor.untyped_storage(), False)
            for tensor in _tensors((*args, *kwargs.values()))
        ]
        grows = not sources or any(sources)
        result = func(*args, **kwargs)
        for tensor in _tensors((result,)):
            storage = tensor.untyped_storage()
            if storage not in self._known:
                self._known[storage] = grows
                self._live[grows] += storage.nbytes()
                weakref.finalize(storage, self._release, grows, storage.nbytes()).atexit = False
        self.growing, self.fixed = max(self.growing, self._live[True]), max(self.fixed, self._live[False])
        return result

    def _release(self, grows: bool, size: int) -> None:
        self._live[grows] -= size


def _tensors(values: tuple[Any, ...] | list[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (tuple, list)):
            yield from _tensors(value)
