"""Neurons behind few real inputs, from the inputs to samples in one operator: ``torch.ops.nsm.sense`` and its
gradient ``torch.ops.nsm.sense_backward``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from nsm import fields as slow
from nsm.fields import Fields
from nsm.functional import ESTIMATORS, Estimator
from nsm.native import jobs, layout, paths
from nsm.native.checks import KERNEL_DTYPES, check_draw, check_estimator, check_gradient

_PART = 2**15  # products that plain torch computes together: they stay in cache
_LANES = 16  # neurons whose receptive fields the kernel sums up side by side


def sense(
    x: Tensor,
    weight: Tensor,
    gain: Tensor,
    bias: Tensor,
    variance: float,
    extra: float,
    fields: Fields,
    seed: Tensor,
    rows: Tensor,
    place: int,
    dtype: torch.dtype,
    estimator: Estimator = "probability",
) -> Tensor:
    r"""Sample the maximum of the signs of each window of neurons that see their receptive fields in ``x``.

    The law of a convolution, :func:`nsm.native.standardize` and :func:`nsm.native.fire_max` one after the
    other, without an array of preactivations: worth it where receptive fields are small, since the products
    are computed again for the gradient. Differentiable in ``weight``, ``gain`` and ``bias``. Bit for bit the
    samples of :func:`nsm.fields.sense`, for any number of threads.

    Args:
        x: (N, C_in, \*size), float32, padded; has no gradient.
        weight: (C, C_in, \*kernel), float32.
        gain: (C,), mu + a, float32.
        bias: (C,), float32.
        variance: s^2 of the noise law.
        extra: eta^2.
        fields: where the receptive fields lie.
        seed: int64 scalar in [0, 2^63).
        rows: int64 (R, 2), R = k N, see :func:`nsm.native.fire`.
        place: the place of the draw, see :func:`nsm.random.place`.
        dtype: of the samples: float32 or bfloat16.
        estimator: see :func:`nsm.functional.derivative`.

    Returns:
        (R, \*P, C) in ``dtype``, dense; NaN where a neuron of the window has no number.

    Raises:
        ValueError: if shapes, the place or the estimator do not fit, or ``x`` needs a gradient.
        TypeError: if a dtype does not fit.
    """
    if x.requires_grad:
        raise ValueError("x must not need a gradient: sense has none for it")
    z: Tensor = torch.ops.nsm.sense(
        x, weight, gain, bias, variance, extra, *fields, seed, rows, place, dtype, estimator
    )
    return z


def _check(x: Tensor, weight: Tensor, gain: Tensor, bias: Tensor, fields: Fields) -> None:
    dims = x.dim() - 2
    if dims not in (1, 2, 3) or weight.dim() != x.dim() or weight.shape[1] != x.shape[1]:
        raise ValueError(
            "x must have shape (N, C_in, *size) and weight (C, C_in, *kernel), "
            f"got {tuple(x.shape)} and {tuple(weight.shape)}"
        )
    if {len(part) for part in fields} != {dims} or min(min(part) for part in fields) < 1:
        raise ValueError(f"fields must have {dims} numbers >= 1 of each kind, got {fields}")
    if gain.shape != weight.shape[:1] or bias.shape != weight.shape[:1]:
        raise ValueError(
            f"gain and bias must have shape {(len(weight),)}, got {tuple(gain.shape)} and {tuple(bias.shape)}"
        )
    if min(slow.counts(x.shape, weight.shape, fields)) < 1:
        raise ValueError(f"x of size {tuple(x.shape[2:])} has no room for one window of {fields}")
    if {tensor.dtype for tensor in (x, weight, gain, bias)} != {torch.float32}:
        raise TypeError("x, weight, gain and bias must be float32")


def _empty(x: Tensor, weight: Tensor, fields: Fields, rows: int, dtype: torch.dtype) -> Tensor:
    counts = slow.counts(x.shape, weight.shape, fields)
    return x.new_empty(rows, *counts, weight.shape[0], dtype=dtype)


def _lanes_filled(values: Tensor) -> Tensor:
    """Neurons last, filled up with zeros."""
    return torch.nn.functional.pad(values, (0, -values.shape[-1] % _LANES)).contiguous()


def _job(x: Tensor, weight: Tensor, gain: Tensor, bias: Tensor, fields: Fields) -> dict[str, Any]:
    """What forward and backward have in common."""
    x = x.contiguous()
    seen = slow.receptive_fields(x, weight.shape, fields)
    dims = x.dim() - 2
    shape, strides = seen.shape[1:], seen.stride()[1:]
    origin, member, tap = (
        layout.offsets(shape[part], strides[part])
        for part in (slice(dims), slice(dims, 2 * dims), slice(2 * dims, None))
    )
    return {
        "x": x,
        "weight": _lanes_filled(weight.flatten(1).t()),
        "gain": _lanes_filled(gain),
        "bias": _lanes_filled(bias),
        "origin": origin,
        "member": member,
        "tap": tap,
        "inputs": len(x),
        "positions": len(origin),
        "window": len(member),
        "channels": len(weight),
        "taps": len(tap),
        "x_stride": x[0].numel(),
    }


def _kernels_fit(*tensors: Tensor, weight: Tensor, fields: Fields) -> bool:
    kernels = paths.kernels() if all(x.device.type == "cpu" for x in (*tensors, weight)) else None
    window, field = fields.members, weight[0].numel()
    return kernels is not None and bool(window <= kernels.largest_window and field <= kernels.largest_field)


@torch.library.custom_op("nsm::sense", mutates_args=())
def _sense(
    x: Tensor,
    weight: Tensor,
    gain: Tensor,
    bias: Tensor,
    variance: float,
    extra: float,
    stride: Sequence[int],
    dilation: Sequence[int],
    window: Sequence[int],
    seed: Tensor,
    rows: Tensor,
    place: int,
    dtype: torch.dtype,
    estimator: str,
) -> Tensor:
    fields = Fields(tuple(stride), tuple(dilation), tuple(window))
    _check(x, weight, gain, bias, fields)
    if dtype not in KERNEL_DTYPES:
        raise TypeError(f"dtype must be float32 or bfloat16, got {dtype}")
    check_draw(len(x), seed, rows, place)
    check_estimator(estimator)
    z = _empty(x, weight, fields, len(rows), dtype)
    if z.numel() == 0:
        return z
    if not _kernels_fit(x, seed, rows, weight=weight, fields=fields):
        repeat, size = len(rows) // len(x), max(1, _PART // z[0].numel())
        for first in range(0, len(x), size):
            part = slice(first * repeat, (first + size) * repeat)
            z[part] = slow.sense(
                x[first : first + size], weight, gain, bias, variance, extra, fields, seed, rows[part], place
            )
        return z
    jobs.run(
        "sense",
        **_job(x, weight, gain, bias, fields),
        z=z,
        rows=rows.contiguous(),
        samples=len(rows) // len(x),
        variance=variance,
        extra=extra,
        seed=int(seed),
        place=place,
        bfloat16=dtype == torch.bfloat16,
    )
    return z


@_sense.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    _gain: Tensor,
    _bias: Tensor,
    _variance: float,
    _extra: float,
    stride: Sequence[int],
    dilation: Sequence[int],
    window: Sequence[int],
    _seed: Tensor,
    rows: Tensor,
    _place: int,
    dtype: torch.dtype,
    _estimator: str,
) -> Tensor:
    fields = Fields(tuple(stride), tuple(dilation), tuple(window))
    return _empty(x, weight, fields, rows.shape[0], dtype)


@torch.library.custom_op("nsm::sense_backward", mutates_args=())
def _sense_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    gain: Tensor,
    bias: Tensor,
    variance: float,
    extra: float,
    stride: Sequence[int],
    dilation: Sequence[int],
    window: Sequence[int],
    estimator: str,
) -> tuple[Tensor, Tensor, Tensor]:
    fields = Fields(tuple(stride), tuple(dilation), tuple(window))
    _check(x, weight, gain, bias, fields)
    check_gradient(grad, len(x), (*slow.counts(x.shape, weight.shape, fields), len(weight)))
    if grad.dtype not in KERNEL_DTYPES:
        grad = grad.float()
    if grad.numel() == 0:
        return torch.zeros_like(weight), torch.zeros_like(gain), torch.zeros_like(bias)
    if not _kernels_fit(grad, x, weight=weight, fields=fields):
        by_weight, by_gain, by_bias = slow.sense_backward(
            grad, x, weight, gain, bias, variance, extra, fields, cast("Estimator", estimator)
        )
        return torch.empty_like(weight).copy_(by_weight), by_gain, by_bias
    job = _job(x, weight, gain, bias, fields)
    by_u, by_power = (x.new_empty(job["taps"] + 1, job["weight"].shape[1]) for _ in range(2))
    jobs.run(
        "sense_backward",
        **job,
        grad=grad.contiguous(),
        by_u=by_u,
        by_power=by_power,
        samples=len(grad) // len(x),
        variance=variance,
        extra=extra,
        bfloat16=grad.dtype == torch.bfloat16,
        estimator=ESTIMATORS.index(estimator),
    )
    by_u, by_power = by_u[:, : len(weight)], by_power[:, : len(weight)]
    direct, squared = (part[:-1].t().reshape(weight.shape) for part in (by_u, by_power))
    by_weight = torch.empty_like(weight).copy_(direct + 2.0 * weight * squared)
    return by_weight, by_u[-1].clone(), by_power[-1].clone()


@_sense_backward.register_fake
def _(
    _grad: Tensor,
    _x: Tensor,
    weight: Tensor,
    gain: Tensor,
    bias: Tensor,
    _variance: float,
    _extra: float,
    _stride: Sequence[int],
    _dilation: Sequence[int],
    _window: Sequence[int],
    _estimator: str,
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(weight), torch.empty_like(gain), torch.empty_like(bias)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001 (torch's signature)
    ctx.save_for_backward(*inputs[:4])
    ctx.numbers, ctx.estimator = inputs[4:9], inputs[-1]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    gradients = torch.ops.nsm.sense_backward(grad, *ctx.saved_tensors, *ctx.numbers, ctx.estimator)
    return None, *gradients, *(None for _ in range(10))


_sense.register_autograd(_backward, setup_context=_setup_context)
