"""Starting Fabric on this process's devices, and sums over all processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from nsm.training.config import Precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def launch(precision: Precision) -> Fabric:
    """Fabric on the processes of ``torchrun`` if it started this one, else on one device; a CUDA device where
    there is one, else the CPU.
    """
    from lightning_fabric import Fabric  # two seconds

    started = _torchrun()
    local = int(os.environ["LOCAL_WORLD_SIZE"]) if started else 1
    processes = int(os.environ["WORLD_SIZE"]) if started else 1
    fabric = Fabric(
        accelerator="cuda" if torch.cuda.is_available() else "cpu",
        strategy="ddp" if processes > 1 else "auto",
        devices=local,
        num_nodes=processes // local,
        precision=precision,
    )
    fabric.launch()
    return fabric


def is_first() -> bool:
    """Whether this is the first process of ``torchrun``, or was not started by it."""
    return not _torchrun() or os.environ["RANK"] == "0"


def _torchrun() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()


def summed(fabric: Fabric, values: Sequence[float]) -> list[float]:
    """Each value summed over all processes, in float64."""
    if fabric.world_size == 1:
        return list(values)
    total = fabric.all_reduce(
        torch.tensor(values, dtype=torch.float64, device=fabric.device), reduce_op="sum"
    )
    assert isinstance(total, torch.Tensor)
    return [float(value) for value in total]
