"""What the operators check before they draw, and whether the kernels can do the work."""

from collections.abc import Sequence
from types import ModuleType

import torch
from torch import Tensor

from nsm import functional, random
from nsm.native import paths

KERNEL_DTYPES = (torch.float32, torch.bfloat16)


def check_draw(count: int, seed: Tensor, rows: Tensor, place: int, members: int = 1) -> None:
    """Refuse a seed, rows for ``count`` inputs or a place that cannot be drawn from, by a neuron or by each
    of the ``members`` of a population.
    """
    if seed.shape != () or seed.dtype != torch.int64:
        raise TypeError(f"seed must be an int64 scalar, got {seed.dtype} of shape {tuple(seed.shape)}")
    if rows.shape[1:] != (2,) or rows.dtype != torch.int64:
        raise TypeError(f"rows must be int64 of shape (R, 2), got {rows.dtype} of shape {tuple(rows.shape)}")
    if len(rows) % count if count else len(rows):
        raise ValueError(f"rows must number a multiple of the {count} inputs, got {len(rows)}")
    if not 0 <= place < 2**32:
        raise ValueError(f"place must be in [0, 2^32), got {place}")
    last = place + (members - 1) * random.NEXT_USE
    if last >= 2**32:
        raise ValueError(
            f"place must leave room below 2^32 for those of all {members} neurons of a population, "
            f"{random.NEXT_USE} apart, got {place}"
        )
    # On other devices a look at the values would wait for all work queued before it.
    if seed.device.type == "cpu" and seed < 0:
        raise ValueError(f"seed must be in [0, 2^63), got {int(seed)}")
    if rows.device.type == "cpu" and len(rows):
        least, largest = (int(x) for x in rows.aminmax())
        if least < 0 or largest >= 2**32:
            raise ValueError(f"rows must hold indices in [0, 2^32), got {least} to {largest}")


def check_gradient(grad: Tensor, count: int, shape: Sequence[int]) -> None:
    """Refuse what is no gradient at samples of ``shape``, k of them for each of ``count`` inputs."""
    if grad.shape[1:] != tuple(shape) or (len(grad) % count if count else len(grad)):
        raise ValueError(
            f"grad must have shape (R, {', '.join(map(str, shape))}), R a multiple of the {count} inputs, "
            f"got {tuple(grad.shape)}"
        )


def check_estimator(estimator: str) -> None:
    """Refuse an estimator that is unknown."""
    if estimator not in functional.ESTIMATORS:
        raise ValueError(f"estimator must be one of {', '.join(functional.ESTIMATORS)}, got {estimator!r}")


def kernels_for(*tensors: Tensor, u: Tensor, scale: Tensor, shift: Tensor) -> ModuleType | None:
    """The extension, if its kernels take these tensors and it is to be used."""
    if u.dtype not in KERNEL_DTYPES or {scale.dtype, shift.dtype} != {torch.float32}:
        return None
    if any(x.device.type != "cpu" for x in (*tensors, u, scale, shift)):
        return None
    return paths.kernels()
