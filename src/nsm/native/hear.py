"""Populations that hear the same, from what they hear to the averages of their signs: ``torch.ops.nsm.hear``
and its gradient ``torch.ops.nsm.hear_backward``.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor

from nsm import functional, populations, random
from nsm.functional import Estimator
from nsm.native import jobs, layout, paths, windows
from nsm.native.checks import KERNEL_DTYPES, check_draw, check_estimator, check_gradient


def hear(
    u: Tensor,
    power: Tensor | None,
    gain: Tensor,
    bias: Tensor,
    variance: float,
    extra: float,
    seed: Tensor,
    rows: Tensor,
    place: int,
    estimator: Estimator = "probability",
) -> Tensor:
    r"""Sample the averages of populations of K neurons, each the maximum of its signs over a window: what
    :func:`standardize`, :func:`fire_max` for each of them and their average give, in one pass.

    Differentiable in ``u``, ``power``, ``gain`` and ``bias``, as these are. Bit for bit the samples of
    :func:`nsm.populations.hear`, for any number of threads.

    Args:
        u: (N, \*P, \*W, C), w.z: inputs, positions of windows and positions in a window along one to three
            dimensions, neurons; float32, bfloat16 or float64, any strides, fastest where those of C are 1.
        power: as ``u``, sum_j w_j^2 z_j^2; None where s = u gain + b, the variance being known before.
        gain: float32 or float64, (C,), mu + a.
        bias: as ``gain``, (K, C), b.
        variance: s^2, of the noise law.
        extra: eta^2.
        seed: int64 scalar in [0, 2^63).
        rows: int64 (R, 2), R = k N, see :func:`nsm.native.fire`.
        place: the place of the draw, see :func:`nsm.random.place`; each neuron more of a population draws at
            the layer's next use.
        estimator: see :func:`nsm.functional.derivative`.

    Returns:
        (R, \*P, C) in the dtype of ``u``, dense; NaN where s of a neuron of the window is NaN.

    Raises:
        ValueError: if shapes, the place or the estimator do not fit.
        TypeError: if a dtype does not fit.
    """
    z: Tensor = torch.ops.nsm.hear(u, power, gain, bias, variance, extra, seed, rows, place, estimator)
    return z


def _check_argument(u: Tensor, power: Tensor | None, gain: Tensor, bias: Tensor) -> None:
    windows.check(u)
    if power is not None and (power.shape != u.shape or power.dtype != u.dtype):
        raise ValueError(
            f"power must be as u, {u.dtype} of shape {tuple(u.shape)}, got {power.dtype} of shape "
            f"{tuple(power.shape)}"
        )
    if power is not None and power.device != u.device:
        raise ValueError(f"power must be on the device of u, {u.device}, got {power.device}")
    channels = u.shape[-1]
    if gain.shape != (channels,) or bias.dim() != 2 or not len(bias) or bias.shape[1] != channels:
        raise ValueError(
            f"gain must have shape ({channels},) and bias (K, {channels}) with K >= 1, got "
            f"{tuple(gain.shape)} and {tuple(bias.shape)}"
        )
    for name, value in (("gain", gain), ("bias", bias)):
        if value.dtype not in (torch.float32, torch.float64):
            raise TypeError(f"{name} must be float32 or float64, got {value.dtype}")


def _kernels_for(u: Tensor, *others: Tensor, gain: Tensor, bias: Tensor) -> ModuleType | None:
    fit = u.dtype in KERNEL_DTYPES and {gain.dtype, bias.dtype} == {torch.float32}
    fit = fit and all(x.device.type == "cpu" for x in (u, gain, bias, *others))
    kernels = paths.kernels() if fit else None
    return kernels if kernels is not None and windows.size(u) <= kernels.largest_window else None


def _in_order(u: Tensor, power: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Both with neurons last, a row of one in the memory order of a row of the other."""
    u = windows.neurons_last(u)
    if power is None or power.stride()[1:] == u.stride()[1:]:
        return u, power
    return u.contiguous(), power.contiguous()


@torch.library.custom_op("nsm::hear", mutates_args=())
def _hear(
    u: Tensor,
    power: Tensor | None,
    gain: Tensor,
    bias: Tensor,
    variance: float,
    extra: float,
    seed: Tensor,
    rows: Tensor,
    place: int,
    estimator: str,
) -> Tensor:
    _check_argument(u, power, gain, bias)
    check_draw(len(u), seed, rows, place, len(bias))
    check_estimator(estimator)
    z = windows.empty(u, len(rows))
    if z.numel() == 0:
        return z
    kernels = _kernels_for(u, seed, rows, gain=gain, bias=bias)
    if kernels is None:
        return z.copy_(populations.hear(u, power, gain, bias, variance, extra, seed, rows, place))
    u, power = _in_order(u, power)
    gain, bias, rows = layout.for_groups(gain), layout.for_groups(bias), rows.contiguous()
    jobs.run(
        "hear",
        power=0 if power is None else power,
        z=z,
        gain=gain,
        bias=bias,
        rows=rows,
        samples=len(rows) // len(u),
        power_stride=0 if power is None else power.stride(0),
        population=len(bias),
        bias_stride=bias.shape[1],
        place_stride=random.NEXT_USE,
        variance=variance,
        extra=extra,
        seed=int(seed),
        place=place,
        **windows.fields(u),
    )
    return z


@_hear.register_fake
def _(
    u: Tensor,
    _power: Tensor | None,
    _gain: Tensor,
    _bias: Tensor,
    _variance: float,
    _extra: float,
    _seed: Tensor,
    rows: Tensor,
    _place: int,
    _estimator: str,
) -> Tensor:
    return windows.empty(u, rows.shape[0])


@torch.library.custom_op("nsm::hear_backward", mutates_args=())
def _hear_backward(
    grad: Tensor,
    u: Tensor,
    power: Tensor | None,
    gain: Tensor,
    bias: Tensor,
    variance: float,
    extra: float,
    estimator: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _check_argument(u, power, gain, bias)
    check_gradient(grad, len(u), windows.left(u))
    grad_u = windows.empty_gradient(u)
    grad_power = u.new_empty(0) if power is None else torch.empty_like(grad_u)
    results = grad_u, grad_power, torch.empty_like(gain), torch.empty_like(bias)
    if grad.numel() == 0:
        for result in results:
            result.zero_()
        return results
    if _kernels_for(u, grad, gain=gain, bias=bias) is None:
        plain = populations.hear_backward(
            grad, u, power, gain, bias, variance, extra, cast("Estimator", estimator)
        )
        for result, value in zip(results, plain, strict=True):
            if value is not None:
                result.copy_(value)
        return results
    u, power = _in_order(u, power)
    grad_origin, grad_member = windows.places(grad_u)
    grad, gain, bias = grad.to(u.dtype).contiguous(), gain.contiguous(), bias.contiguous()
    # What is promised has the strides of the parameters, and the kernel knows one memory order.
    by_gain, by_bias = torch.empty_like(gain), torch.empty_like(bias)
    jobs.run(
        "hear_backward",
        grad=grad,
        power=0 if power is None else power,
        grad_u=grad_u,
        grad_power=0 if power is None else grad_power,
        gain=gain,
        bias=bias,
        by_gain=by_gain,
        by_bias=by_bias,
        grad_origin=grad_origin,
        grad_member=grad_member,
        samples=len(grad) // len(u),
        power_stride=0 if power is None else power.stride(0),
        grad_stride=grad_u.stride(0),
        population=len(bias),
        variance=variance,
        extra=extra,
        estimator=functional.ESTIMATORS.index(cast("Estimator", estimator)),
        **windows.fields(u),
    )
    results[2].copy_(by_gain)
    results[3].copy_(by_bias)
    return results


@_hear_backward.register_fake
def _(
    _grad: Tensor,
    u: Tensor,
    power: Tensor | None,
    gain: Tensor,
    bias: Tensor,
    _variance: float,
    _extra: float,
    _estimator: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    grad_u = windows.empty_gradient(u)
    grad_power = u.new_empty(0) if power is None else torch.empty_like(grad_u)
    return grad_u, grad_power, torch.empty_like(gain), torch.empty_like(bias)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001 (torch's signature)
    u, power, gain, bias, ctx.variance, ctx.extra, *_, ctx.estimator = inputs
    ctx.save_for_backward(u, power, gain, bias)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    u, power, gain, bias = ctx.saved_tensors
    by_u, by_power, *others = torch.ops.nsm.hear_backward(
        grad, u, power, gain, bias, ctx.variance, ctx.extra, ctx.estimator
    )
    return by_u, None if power is None else by_power, *others, *(None,) * 6


_hear.register_autograd(_backward, setup_context=_setup_context)
