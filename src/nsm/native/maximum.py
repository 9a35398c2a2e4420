"""Firing and maximum pooling in one operator: ``torch.ops.nsm.fire_max`` and its gradient
``torch.ops.nsm.fire_max_backward``.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from nsm import functional
from nsm.functional import Estimator
from nsm.native import jobs, windows
from nsm.native.checks import check_draw, check_estimator, check_gradient, kernels_for


def fire_max(
    u: Tensor,
    scale: Tensor,
    shift: Tensor,
    seed: Tensor,
    rows: Tensor,
    place: int,
    estimator: Estimator = "probability",
) -> Tensor:
    r"""Sample the maximum of the signs of each window, in one draw from P(max = 1) = 1 - prod_k (1 - P_k).

    Differentiable in ``u``, ``scale`` and ``shift``; the gradient is that of E[max] as the estimator sees it:
    all neurons of a window get their share, not just the one that fired first. Bit for bit the samples of
    :func:`nsm.functional.fire_max`, for any number of threads.

    Args:
        u: (N, \*P, \*K, C): inputs, positions of windows and positions in a window along one to three
            dimensions, neurons; float32, bfloat16 or float64, any strides, fastest where those of C are 1.
        scale: float32 or float64, (1, \*1, \*1, C) or (1, \*P, \*K, C).
        shift: as ``scale``.
        seed: int64 scalar in [0, 2^63).
        rows: int64 (R, 2), R = k N, see :func:`nsm.native.fire`.
        place: the place of the draw, see :func:`nsm.random.place`.
        estimator: see :func:`nsm.functional.derivative`.

    Returns:
        (R, \*P, C) in the dtype of ``u``, dense; NaN where s of a neuron of the window is NaN.

    Raises:
        ValueError: if shapes, the place or the estimator do not fit.
        TypeError: if a dtype does not fit.
    """
    z: Tensor = torch.ops.nsm.fire_max(u, scale, shift, seed, rows, place, estimator)
    return z


def _check_argument(u: Tensor, scale: Tensor, shift: Tensor) -> None:
    windows.check(u)
    valid = ((1,) * (u.dim() - 1) + (u.shape[-1],), (1, *u.shape[1:]))
    for name, value in (("scale", scale), ("shift", shift)):
        if value.shape not in valid or value.shape != scale.shape:
            raise ValueError(
                f"scale and shift must both have shape {valid[0]} or {valid[1]}, "
                f"got {name} {tuple(value.shape)}"
            )
        if value.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"{name} must be float32 or float64, got {value.dtype}")


@torch.library.custom_op("nsm::fire_max", mutates_args=())
def _fire_max(
    u: Tensor, scale: Tensor, shift: Tensor, seed: Tensor, rows: Tensor, place: int, estimator: str
) -> Tensor:
    _check_argument(u, scale, shift)
    check_draw(len(u), seed, rows, place)
    check_estimator(estimator)
    z = windows.empty(u, len(rows))
    if z.numel() == 0:
        return z
    u = windows.neurons_last(u)
    kernels = kernels_for(seed, rows, u=u, scale=scale, shift=shift)
    if kernels is None or windows.size(u) > kernels.largest_window:
        return z.copy_(functional.fire_max(u, scale, shift, seed, rows, place))
    rows, scale, shift = rows.contiguous(), scale.contiguous(), shift.contiguous()
    jobs.run(
        "fire_max",
        z=z,
        scale=scale,
        shift=shift,
        rows=rows,
        samples=len(rows) // len(u),
        seed=int(seed),
        place=place,
        shared=scale.numel() == u.shape[-1],
        **windows.fields(u),
    )
    return z


@_fire_max.register_fake
def _(
    u: Tensor, _scale: Tensor, _shift: Tensor, _seed: Tensor, rows: Tensor, _place: int, _estimator: str
) -> Tensor:
    return windows.empty(u, rows.shape[0])


@torch.library.custom_op("nsm::fire_max_backward", mutates_args=())
def _fire_max_backward(
    grad: Tensor, u: Tensor, scale: Tensor, shift: Tensor, estimator: str
) -> tuple[Tensor, Tensor, Tensor]:
    _check_argument(u, scale, shift)
    check_gradient(grad, len(u), windows.left(u))
    grad_u = windows.empty_gradient(u)
    grad_scale, grad_shift = torch.empty_like(scale), torch.empty_like(shift)
    if grad.numel() == 0:
        return grad_u.zero_(), grad_scale.zero_(), grad_shift.zero_()
    source = windows.neurons_last(u)
    kernels = kernels_for(grad, u=u, scale=scale, shift=shift)
    if kernels is None or windows.size(u) > kernels.largest_window:
        results = functional.fire_max_backward(grad, u, scale, shift, cast("Estimator", estimator))
        return grad_u.copy_(results[0]), grad_scale.copy_(results[1]), grad_shift.copy_(results[2])
    grad_origin, grad_member = windows.places(grad_u)
    grad, scale, shift = grad.to(u.dtype).contiguous(), scale.contiguous(), shift.contiguous()
    by_scale, by_shift = torch.empty_like(scale), torch.empty_like(shift)
    jobs.run(
        "fire_max_backward",
        grad=grad,
        grad_u=grad_u,
        scale=scale,
        shift=shift,
        by_scale=by_scale,
        by_shift=by_shift,
        grad_origin=grad_origin,
        grad_member=grad_member,
        samples=len(grad) // len(u),
        grad_u_stride=grad_u.stride(0),
        estimator=functional.ESTIMATORS.index(estimator),
        shared=scale.numel() == u.shape[-1],
        **windows.fields(source),
    )
    return grad_u, grad_scale.copy_(by_scale), grad_shift.copy_(by_shift)


@_fire_max_backward.register_fake
def _(
    _grad: Tensor, u: Tensor, scale: Tensor, shift: Tensor, _estimator: str
) -> tuple[Tensor, Tensor, Tensor]:
    return windows.empty_gradient(u), torch.empty_like(scale), torch.empty_like(shift)


jobs.register_gradient("fire_max")
