"""The argument of erf where the inputs decide the variance: ``torch.ops.nsm.standardize`` and its
gradient.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from nsm import functional
from nsm.native import jobs, layout, paths
from nsm.native.checks import KERNEL_DTYPES


def standardize(
    u: Tensor, power: Tensor, gain: Tensor, bias: Tensor, variance: float, extra: float
) -> Tensor:
    """s = (gain w.z + b) / sqrt(2 (s^2 sum_j w_j^2 z_j^2 + eta^2)), differentiable in all tensors.

    The bits of :func:`nsm.functional.standardize`, whose arguments these are, but that ``bias`` is always (K,
    C) and s (K, N, P, C); one pass over memory instead of one for each operation and neuron.

    Raises:
        ValueError: if shapes do not fit.
    """
    s: Tensor = torch.ops.nsm.standardize(u, power, gain, bias, variance, extra)
    return s


def _kernels_for(u: Tensor, power: Tensor, *others: Tensor) -> ModuleType | None:
    fit = u.dtype in KERNEL_DTYPES and power.dtype == u.dtype and {x.dtype for x in others} == {torch.float32}
    fit = fit and all(x.device.type == "cpu" for x in (u, power, *others))
    return paths.kernels() if fit else None


def _alike(u: Tensor, power: Tensor) -> tuple[Tensor, Tensor]:
    """Both with dense rows in the order of those of ``u``."""
    u, power = layout.dense_rows(u), layout.dense_rows(power)
    if layout.is_position_last(u) != layout.is_position_last(power):
        power = layout.dense(power, layout.is_position_last(u))
    return u, power


def _empty_arguments(u: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """(K, N, P, C), each row in the memory order of those of ``u``."""
    inputs, members = u.shape[0], bias.shape[0]
    rows = layout.empty_rows(u, members * inputs, torch.promote_types(u.dtype, gain.dtype))
    return rows.view(members, inputs, *u.shape[1:])


def _check(u: Tensor, power: Tensor, gain: Tensor, bias: Tensor) -> None:
    fit = u.dim() == 3 and power.shape == u.shape and gain.shape == u.shape[2:]
    if not (fit and bias.dim() == 2 and bias.shape[1:] == gain.shape):
        raise ValueError(
            "u and power must have one shape (N, P, C), gain (C,) and bias (K, C), got "
            + ", ".join(str(tuple(x.shape)) for x in (u, power, gain, bias))
        )


@torch.library.custom_op("nsm::standardize", mutates_args=())
def _standardize(
    u: Tensor, power: Tensor, gain: Tensor, bias: Tensor, variance: float, extra: float
) -> Tensor:
    _check(u, power, gain, bias)
    s = _empty_arguments(u, gain, bias)
    kernels = _kernels_for(u, power, gain, bias)
    if kernels is None or s.numel() == 0:
        # bfloat16 products are rounded once, not at every operation.
        return s.copy_(functional.standardize(u, power.to(s.dtype), gain, bias, variance, extra))
    u, power = _alike(u, power)
    gain, bias = gain.contiguous(), bias.contiguous()
    jobs.run(
        "standardize",
        u=u,
        power=power,
        gain=gain,
        bias=bias,
        s=s,
        inputs=len(u),
        members=len(bias),
        u_stride=u.stride(0),
        power_stride=power.stride(0),
        variance=variance,
        extra=extra,
        bfloat16=u.dtype == torch.bfloat16,
        **layout.runs(u),
    )
    return s


@_standardize.register_fake
def _(u: Tensor, _power: Tensor, gain: Tensor, bias: Tensor, _variance: float, _extra: float) -> Tensor:
    return _empty_arguments(u, gain, bias)


@torch.library.custom_op("nsm::standardize_backward", mutates_args=())
def _standardize_backward(
    grad: Tensor, u: Tensor, power: Tensor, gain: Tensor, bias: Tensor, variance: float, extra: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _check(u, power, gain, bias)
    if grad.shape != (len(bias), *u.shape):
        raise ValueError(f"grad must have shape {(len(bias), *u.shape)}, got {tuple(grad.shape)}")
    grad_u, grad_power = layout.empty_rows(u, len(u)), layout.empty_rows(u, len(u), power.dtype)
    grad_gain, grad_bias = torch.empty_like(gain), torch.empty_like(bias)
    kernels = _kernels_for(u, power, grad, gain, bias)
    if kernels is None or u.numel() == 0:
        wide = power.to(grad.dtype)
        results = functional.standardize_backward(grad, u, wide, gain, bias, variance, extra)
        targets = (grad_u, grad_power, grad_gain, grad_bias)
        first, second, third, fourth = (to.copy_(x) for to, x in zip(targets, results, strict=True))
        return first, second, third, fourth
    u, power = _alike(u, power)
    grad = layout.dense(grad.flatten(0, 1), layout.is_position_last(u))
    gain, bias = gain.contiguous(), bias.contiguous()
    # What is promised has the strides of the parameters, and the kernel knows one memory order.
    by_gain, by_bias = torch.empty_like(gain), torch.empty_like(bias)
    jobs.run(
        "standardize_backward",
        u=u,
        power=power,
        gain=gain,
        bias=bias,
        grad=grad,
        grad_u=grad_u,
        grad_power=grad_power,
        by_gain=by_gain,
        by_bias=by_bias,
        inputs=len(u),
        members=len(bias),
        u_stride=u.stride(0),
        power_stride=power.stride(0),
        variance=variance,
        extra=extra,
        bfloat16=u.dtype == torch.bfloat16,
        **layout.runs(u),
    )
    return grad_u, grad_power, grad_gain.copy_(by_gain), grad_bias.copy_(by_bias)


@_standardize_backward.register_fake
def _(
    _grad: Tensor, u: Tensor, power: Tensor, gain: Tensor, bias: Tensor, _variance: float, _extra: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = layout.empty_rows(u, u.shape[0])
    return (
        rows,
        layout.empty_rows(u, u.shape[0], power.dtype),
        torch.empty_like(gain),
        torch.empty_like(bias),
    )


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001 (torch's signature)
    *tensors, ctx.variance, ctx.extra = inputs
    ctx.save_for_backward(*tensors)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    gradients = torch.ops.nsm.standardize_backward(grad, *ctx.saved_tensors, ctx.variance, ctx.extra)
    return *gradients, None, None


_standardize.register_autograd(_backward, setup_context=_setup_context)
