"""The firing operator for torch: ``torch.ops.nsm.fire`` and its gradient ``torch.ops.nsm.fire_backward``.

Both are custom operators with fake implementations, so that they compile without graph breaks. float32 and
bfloat16 on the CPU run in the C++ kernels, everything else in :mod:`nsm.functional`.
"""

from typing import cast

import torch
from torch import Tensor

from nsm import functional, random
from nsm.functional import Estimator
from nsm.native import jobs, layout
from nsm.native.checks import KERNEL_DTYPES, check_draw, check_estimator, check_gradient, kernels_for

_PART = 2**18  # elements that plain torch draws together: some tens of megabytes of 64-bit words
_RUN = 1024  # elements of a backward run: long enough for vector units, short enough to stay in cache


def fire(
    u: Tensor,
    scale: Tensor,
    shift: Tensor,
    seed: Tensor,
    rows: Tensor,
    place: int,
    estimator: Estimator = "probability",
) -> Tensor:
    """Sample z' in {-1, +1} with P(z' = 1) = (1 + erf(s)) / 2, s = u * scale + shift; of populations of K
    neurons that hear the same u the average.

    Differentiable in ``u``, ``scale`` and ``shift``; the gradient is that of E[z'] as the estimator sees it.
    Bit for bit the samples of :func:`nsm.functional.fire`, for any number of threads.

    Args:
        u: (N, P, C), N inputs, P positions, C neurons; float32, bfloat16 or float64, any strides.
        scale: float32 or float64 (Q, C), Q in {1, P}.
        shift: as ``scale``, or (K, Q, C) of populations.
        seed: int64 scalar in [0, 2^63).
        rows: int64 (R, 2), (sample, input) of each output row, R = k N: row r is drawn from ``u[r // k]``.
        place: the place of the draw, see :func:`nsm.random.place`; each neuron more of a population draws at
            the layer's next use.
        estimator: see :func:`nsm.functional.derivative`.

    Returns:
        (R, P, C) in the dtype of ``u`` and the memory order of its rows; NaN where s is NaN.

    Raises:
        ValueError: if shapes, the place or the estimator do not fit.
        TypeError: if a dtype does not fit.
    """
    z: Tensor = torch.ops.nsm.fire(u, scale, shift, seed, rows, place, estimator)
    return z


def _check_argument(u: Tensor, scale: Tensor, shift: Tensor) -> None:
    if u.dim() != 3:
        raise ValueError(f"u must have shape (N, P, C), got {tuple(u.shape)}")
    if u.dtype not in (*KERNEL_DTYPES, torch.float64):
        raise TypeError(f"u must be float32, bfloat16 or float64, got {u.dtype}")
    _, positions, channels = u.shape
    members = shift[0] if shift.dim() == 3 and len(shift) else shift
    for name, value in (("scale", scale), ("shift", members)):
        if value.shape not in ((1, channels), (positions, channels)) or value.shape != scale.shape:
            raise ValueError(
                f"scale and shift must both have shape (1, {channels}) or ({positions}, {channels}), shift "
                f"that of each member of a population, got {name} {tuple(value.shape)}"
            )
        if value.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"{name} must be float32 or float64, got {value.dtype}")


@torch.library.custom_op("nsm::fire", mutates_args=())
def _fire(
    u: Tensor, scale: Tensor, shift: Tensor, seed: Tensor, rows: Tensor, place: int, estimator: str
) -> Tensor:
    _check_argument(u, scale, shift)
    members = _members(shift)
    check_draw(len(u), seed, rows, place, members)
    check_estimator(estimator)
    z = layout.empty_rows(u, len(rows))
    if z.numel() == 0:
        return z
    kernels = kernels_for(seed, rows, u=u, scale=scale, shift=shift)
    if kernels is None:
        return _fire_by_parts(z, u, scale, shift, seed, rows, place)
    if members > 1 and layout.is_position_last(u):
        # Of populations the kernel knows one memory order.
        u = u.contiguous()
        return z.copy_(_fire(u, scale, shift, seed, rows, place, estimator))
    u, rows, position_last = layout.dense_rows(u), rows.contiguous(), layout.is_position_last(u)
    count, positions, channels = u.shape
    shared = len(scale) == 1 and positions > 1
    if shared:
        scale, shift = layout.for_groups(scale), layout.for_groups(shift)
    elif position_last:
        scale, shift = scale.mT, shift.mT
    scale, shift = scale.contiguous(), shift.contiguous()
    jobs.run(
        "fire",
        u=u,
        z=z,
        scale=scale,
        shift=shift,
        rows=rows,
        inputs=count,
        positions=positions,
        channels=channels,
        samples=len(rows) // count,
        u_stride=u.stride(0),
        members=members,
        shift_stride=shift.numel() // members,
        place_stride=random.NEXT_USE,
        seed=int(seed),
        place=place,
        bfloat16=u.dtype == torch.bfloat16,
        position_last=position_last,
        shared=shared,
    )
    return z


def _members(shift: Tensor) -> int:
    return len(shift) if shift.dim() == 3 else 1


def _fire_by_parts(
    z: Tensor, u: Tensor, scale: Tensor, shift: Tensor, seed: Tensor, rows: Tensor, place: int
) -> Tensor:
    size = max(1, _PART // u[0].numel())
    source = torch.arange(len(rows), device=u.device) // (len(rows) // len(u))
    for first in range(0, len(rows), size):
        part = slice(first, first + size)
        z[part] = functional.fire(u[source[part]], scale, shift, seed, rows[part], place)
    return z


@_fire.register_fake
def _(
    u: Tensor, _scale: Tensor, _shift: Tensor, _seed: Tensor, rows: Tensor, _place: int, _estimator: str
) -> Tensor:
    return layout.empty_rows(u, rows.shape[0])


@torch.library.custom_op("nsm::fire_backward", mutates_args=())
def _fire_backward(
    grad: Tensor, u: Tensor, scale: Tensor, shift: Tensor, estimator: str
) -> tuple[Tensor, Tensor, Tensor]:
    _check_argument(u, scale, shift)
    check_gradient(grad, len(u), u.shape[1:])
    grad_u = layout.empty_rows(u, len(u))
    grad_scale, grad_shift = torch.empty_like(scale), torch.empty_like(shift)
    if grad.numel() == 0:
        return grad_u.zero_(), grad_scale.zero_(), grad_shift.zero_()
    kernels = kernels_for(grad, u=u, scale=scale, shift=shift)
    if kernels is None:
        results = functional.fire_backward(grad, u, scale, shift, cast("Estimator", estimator))
        return grad_u.copy_(results[0]), grad_scale.copy_(results[1]), grad_shift.copy_(results[2])
    members = _members(shift)
    if members > 1 and layout.is_position_last(u):
        results = _fire_backward(grad, u.contiguous(), scale, shift, estimator)
        return grad_u.copy_(results[0]), *results[1:]
    position_last = layout.is_position_last(u)
    u, grad = layout.dense_rows(u), layout.dense(grad.to(u.dtype), position_last)
    count, positions, channels = u.shape
    by_run, turned, turns = False, False, 1
    if len(scale) == positions:
        # In the memory order of u's rows.
        outer, inner, turned = 1, positions * channels, position_last
        scale, shift = (scale.mT, shift.mT) if turned else (scale, shift)
    elif position_last:
        outer, inner, by_run = channels, positions, True
    else:
        # Several positions in one run, where there are few channels.
        turns = max(d for d in range(1, max(1, _RUN // channels) + 1) if positions % d == 0)
        outer, inner = positions // turns, turns * channels
        scale, shift = layout.repeated(scale, turns), layout.repeated(shift, turns)
    scale, shift = scale.contiguous(), shift.contiguous()
    by_scale, by_shift = torch.empty_like(scale), torch.empty_like(shift)
    jobs.run(
        "fire_backward",
        grad=grad,
        u=u,
        grad_u=grad_u,
        scale=scale,
        shift=shift,
        by_scale=by_scale,
        by_shift=by_shift,
        inputs=count,
        samples=len(grad) // count,
        u_stride=u.stride(0),
        members=members,
        outer=outer,
        inner=inner,
        bfloat16=u.dtype == torch.bfloat16,
        estimator=functional.ESTIMATORS.index(estimator),
        by_run=by_run,
    )
    for target, sums in ((grad_scale, by_scale), (grad_shift, by_shift)):
        if turned:
            target.copy_(sums.mT)
        else:
            *population, many, channels = target.shape
            target.copy_(sums.view(*population, turns, many, channels).sum(-3))
    return grad_u, grad_scale, grad_shift


@_fire_backward.register_fake
def _(
    _grad: Tensor, u: Tensor, scale: Tensor, shift: Tensor, _estimator: str
) -> tuple[Tensor, Tensor, Tensor]:
    return layout.empty_rows(u, u.shape[0]), torch.empty_like(scale), torch.empty_like(shift)


jobs.register_gradient("fire")
