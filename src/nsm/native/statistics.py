"""Mean and variance of what neurons hear in a batch: ``torch.ops.nsm.statistics`` and its gradient."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from nsm import functional
from nsm.native import jobs, layout, paths
from nsm.native.checks import KERNEL_DTYPES


def statistics(u: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of u over inputs and positions, differentiable.

    As :func:`nsm.functional.statistics`, but for the order of its sums; one pass over memory, and one for the
    gradient.

    Args:
        u: (N, P, C), w z.

    Returns:
        both (C,), float32 for narrower inputs.

    Raises:
        ValueError: if ``u`` has not three dimensions.
    """
    mean, variance = torch.ops.nsm.statistics(u)
    return mean, variance


def _kernels_for(u: Tensor) -> ModuleType | None:
    return paths.kernels() if u.dtype in KERNEL_DTYPES and u.device.type == "cpu" else None


def _check(u: Tensor) -> None:
    if u.dim() != 3:
        raise ValueError(f"u must be of shape (N, P, C), got {tuple(u.shape)}")


def _empty(u: Tensor) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(u.dtype, torch.float32)
    return u.new_empty(u.shape[2:], dtype=wide), u.new_empty(u.shape[2:], dtype=wide)


def _job(u: Tensor) -> dict[str, Tensor | float]:
    return {
        "u": u,
        "inputs": len(u),
        "u_stride": u.stride(0),
        "bfloat16": u.dtype == torch.bfloat16,
        **layout.runs(u),
    }


@torch.library.custom_op("nsm::statistics", mutates_args=())
def _statistics(u: Tensor) -> tuple[Tensor, Tensor]:
    _check(u)
    if _kernels_for(u) is None or u.numel() == 0:
        return functional.statistics(u)
    # Squares of what is far from 0 would lose the variance. The mean at one position is near enough: the
    # square of its distance from that of all is at most the variance times the number of positions.
    pivot = u[:, 0].mean(0, dtype=torch.float32)
    total, square = _empty(u)
    u, count = layout.dense_rows(u), u.shape[0] * u.shape[1]
    jobs.run("statistics", pivot=pivot, sum=total, square=square, **_job(u))
    distance = total / count
    return pivot + distance, (square / count - distance.square()).clamp_(min=0.0)


@_statistics.register_fake
def _(u: Tensor) -> tuple[Tensor, Tensor]:
    return _empty(u)


@torch.library.custom_op("nsm::statistics_backward", mutates_args=())
def _statistics_backward(u: Tensor, mean: Tensor, by_mean: Tensor, by_variance: Tensor) -> Tensor:
    _check(u)
    if {mean.shape, by_mean.shape, by_variance.shape} != {u.shape[2:]}:
        raise ValueError(
            f"mean, by_mean and by_variance must have shape {tuple(u.shape[2:])}, got "
            + ", ".join(str(tuple(x.shape)) for x in (mean, by_mean, by_variance))
        )
    grad_u = layout.empty_rows(u, len(u))
    if _kernels_for(u) is None or u.numel() == 0:
        return grad_u.copy_(functional.statistics_backward(u, mean, by_mean, by_variance))
    u, count = layout.dense_rows(u), u.shape[0] * u.shape[1]
    by_square = by_variance.float() * (2.0 / count)
    by_sum = by_mean.float() / count - by_square * mean.float()
    jobs.run("statistics_backward", by_sum=by_sum, by_square=by_square, grad_u=grad_u, **_job(u))
    return grad_u


@_statistics_backward.register_fake
def _(u: Tensor, _mean: Tensor, _by_mean: Tensor, _by_variance: Tensor) -> Tensor:
    return layout.empty_rows(u, u.shape[0])


def _setup_context(ctx: Any, inputs: tuple[Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, output[0])


def _backward(ctx: Any, by_mean: Tensor, by_variance: Tensor) -> Tensor:
    grad: Tensor = torch.ops.nsm.statistics_backward(*ctx.saved_tensors, by_mean, by_variance)
    return grad


_statistics.register_autograd(_backward, setup_context=_setup_context)
