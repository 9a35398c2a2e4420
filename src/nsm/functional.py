"""The neuron's mathematics as pure functions: moments of u, firing probability, sampling, and gradients.

Symbols follow [N19]: u = sum_j (xi_j + a) w_j z_j + b, z' = sgn(u) with sgn(0) = +1, and, up to the central
limit theorem,

    P(z' = 1) = (1 + erf(s)) / 2,    E[z'] = erf(s),    s = E[u] / sqrt(2 Var[u]).

:func:`fire` and :func:`fire_backward` are the obvious form of the library's central operator. The kernels in
:mod:`nsm.native` give the same samples, bit for bit, and are tested against them.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from nsm import random

Estimator = Literal["probability", "straight-through", "smoothed"]
ESTIMATORS: tuple[Estimator, ...] = get_args(Estimator)

UNIFORM_BITS = 24
_ONE = 2**UNIFORM_BITS

# erfc(x) = t exp(-x^2) R(t), t = 1 / (1 + x/2): R fitted by weighted least squares on [0, 4.75] so that the
# error of the probability stays below 2^-29; 2^f on [-1/2, 1/2] to a relative 3e-9. Both are far below
# float32's own rounding.
_ERFC = (
    0.282513288, 0.276138519, 0.281839346, 0.06901716, 0.254007697, -0.0894991147, -0.193444831, 0.153400752,
    -0.0339728185,
)  # fmt: skip
_EXP2 = (1.0, 0.693147207, 0.240226512, 0.055503272, 0.00961802559, 0.00134004369, 0.000154697362)
_LARGEST = 4.75
_LOG2_E = 1.44269504

_TWO_OVER_SQRT_PI = 2.0 / math.sqrt(math.pi)


class Moments(NamedTuple):
    """Mean and variance of the preactivation u given the inputs."""

    mean: Tensor
    variance: Tensor


def erf_argument(moments: Moments) -> Tensor:
    """s = E[u] / sqrt(2 Var[u]).

    A neuron without variance (zero weights, or an all-zero input) is deterministic: s is +inf where E[u] >= 0
    and -inf elsewhere, and no gradient flows.
    """
    mean, variance = moments
    # Not "> 0": a variance that is NaN must show.
    noisy = variance != 0
    safe = torch.where(noisy, variance, 1.0)
    sure = torch.where(mean >= 0, torch.inf, -torch.inf).to(mean.dtype)
    # torch's float32 root is not always rounded right; samples must not depend on whose root it is.
    return torch.where(noisy, mean / torch.sqrt((2.0 * safe).double()).to(safe.dtype), sure)


def standardize(
    u: Tensor, power: Tensor, gain: Tensor, bias: Tensor, variance: float, extra: float
) -> Tensor:
    """s = (gain w.z + b) / sqrt(2 (s^2 sum_j w_j^2 z_j^2 + eta^2)), where the inputs decide the variance.

    Args:
        u: (N, P, C), w.z.
        power: (N, P, C), sum_j w_j^2 z_j^2.
        gain: (C,), mu + a.
        bias: (C,), or (K, C) of K neurons that hear the same.
        variance: s^2, of the noise law.
        extra: eta^2.

    Returns:
        (N, P, C), or (K, N, P, C); limits as in :func:`erf_argument`.
    """
    return erf_argument(Moments(u * gain + _members(bias), power * variance + extra))


def standardize_backward(
    grad: Tensor, u: Tensor, power: Tensor, gain: Tensor, bias: Tensor, variance: float, extra: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of :func:`standardize` with respect to u, power, gain and bias; 0 where there is no variance.

    Args:
        grad: gradient at s, of its shape.
        u: as in the forward pass, and so on.
        power: (N, P, C).
        gain: (C,).
        bias: (C,), or (K, C).
        variance: s^2.
        extra: eta^2.
    """
    total = power * variance + extra
    noisy = total != 0
    safe = torch.where(noisy, total, 1.0)
    by_mean = torch.where(noisy, grad / torch.sqrt(2.0 * safe), 0.0)
    moved = by_mean * (u * gain + _members(bias))
    by_bias = by_mean.sum((-3, -2))
    if bias.dim() == 2:
        by_mean, moved = by_mean.sum(0), moved.sum(0)
    return by_mean * gain, moved * (-0.5 * variance) / safe, (by_mean * u).sum((0, 1)), by_bias


def _members(bias: Tensor) -> Tensor:
    """(K, C) to (K, 1, 1, C); another one as it is."""
    return bias[:, None, None] if bias.dim() == 2 else bias


def statistics(u: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of u over inputs and positions, from which standardized layers count theirs.

    Args:
        u: (N, P, C), w.z.

    Returns:
        both (C,), float32 for narrower inputs.
    """
    wide = u.to(torch.promote_types(u.dtype, torch.float32)).flatten(0, 1)
    # Not torch.var_mean, which takes several times as long.
    mean = wide.mean(0)
    return mean, (wide - mean).square().mean(0)


def statistics_backward(u: Tensor, mean: Tensor, by_mean: Tensor, by_variance: Tensor) -> Tensor:
    """Gradient of :func:`statistics` with respect to u.

    Args:
        u: (N, P, C).
        mean: (C,), of ``u``.
        by_mean: (C,), gradient at the mean.
        by_variance: (C,), gradient at the variance.
    """
    count = u.shape[0] * u.shape[1]
    return by_mean / count + (u.to(mean.dtype) - mean) * (by_variance * (2.0 / count))


def threshold24(s: Tensor) -> Tensor:
    """P(z' = 1) as a whole number of 2^-24: a neuron fires where a uniform 24-bit number lies below it.

    A fixed sequence of float32 additions, multiplications and one division, each rounded once, so that every
    implementation gives the same bits. Within 4 units of the exact probability, without bias; exactly 0 or
    2^24 beyond |s| = 4.75.

    Args:
        s: argument of erf, any shape, any float dtype; computed in float32.

    Returns:
        float32, whole numbers in [0, 2^24]; NaN where ``s`` is NaN.
    """
    s = s.float()
    x = s.abs().clamp(max=_LARGEST)
    t = 1.0 / (1.0 + 0.5 * x)
    y = x * x * -_LOG2_E
    whole = torch.round(y)
    power = _horner(_EXP2, y - whole)
    scale = ((torch.nan_to_num(whole).int() + (127 + UNIFORM_BITS - 1)) << 23).view(torch.float32)
    tail = torch.round(t * _horner(_ERFC, t) * power * scale)
    return torch.where(s >= 0, _ONE - tail, tail)


def _horner(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    value = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value


def derivative(s: Tensor, estimator: Estimator) -> Tensor:
    """d z'/d s as the estimator sees it.

    ``"probability"``: d erf(s)/ds = (2/sqrt(pi)) exp(-s^2), the gradient of the firing probability [N19].
    ``"straight-through"``: 1 where |s| <= 1, else 0 (the hard-tanh window of binarized networks).
    ``"smoothed"``: d erf(s/2)/ds = (1/sqrt(pi)) exp(-s^2/4), the gradient of the probability with which the
    neuron would fire in twice as much noise. It reaches neurons that are nearly sure, of which a deep network
    has many.

    Raises:
        ValueError: if the estimator is unknown.
    """
    if estimator == "probability":
        return _TWO_OVER_SQRT_PI * torch.exp(-s * s)
    if estimator == "straight-through":
        return (s.abs() <= 1.0).to(s.dtype)
    if estimator == "smoothed":
        return (0.5 * _TWO_OVER_SQRT_PI) * torch.exp(-0.25 * s * s)
    raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {estimator!r}")


class _ExpectedState(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, s: Tensor, estimator: Estimator) -> Tensor:
        ctx.save_for_backward(s)
        ctx.estimator = estimator
        return torch.special.erf(s)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (s,) = ctx.saved_tensors
        return grads[0] * derivative(s, ctx.estimator), None


def expected_state(s: Tensor, estimator: Estimator = "probability") -> Tensor:
    """E[z'] = erf(s), with the estimator's gradient (the true one for ``"probability"``)."""
    state: Tensor = _ExpectedState.apply(s, estimator)  # type: ignore[no-untyped-call]
    return state


def with_gradient_of(value: Tensor, expectation: Tensor) -> Tensor:
    """``value`` in the forward pass, the gradient of ``expectation`` in the backward pass."""
    return value.detach() + (expectation - expectation.detach())


def sign(u: Tensor) -> Tensor:
    """sgn(u) in {-1, +1} with sgn(0) = +1; NaN stays NaN."""
    return torch.where(u.isnan(), u, torch.where(u >= 0, 1.0, -1.0).to(u.dtype))


def fire(u: Tensor, scale: Tensor, shift: Tensor, seed: Tensor, rows: Tensor, where: int) -> Tensor:
    """Sample z' in {-1, +1} with P(z' = 1) = (1 + erf(s)) / 2, s = u * scale + shift; of populations of K
    neurons that hear the same u the average.

    Args:
        u: (N, P, C), N inputs, P positions, C neurons; float32, bfloat16 or float64.
        scale: float32 (Q, C), Q in {1, P}.
        shift: float32 (Q, C), or (K, Q, C) of populations.
        seed: int64 scalar.
        rows: int64 (R, 2), (sample, input) of each output row, R = k N: row r is drawn from ``u[r // k]``.
        where: the place of the draw, see :func:`nsm.random.place`; each neuron more of a population draws at
            the layer's next use.

    Returns:
        (R, P, C) in the dtype of ``u``; NaN where s is NaN, so that a broken network cannot pass for a
        working one. Element (p, c) of a row is number p C + c of its stream.
    """
    if shift.dim() == 3:
        draws = [fire(u, scale, one, seed, rows, where + k * random.NEXT_USE) for k, one in enumerate(shift)]
        total = torch.stack(draws).to(torch.promote_types(u.dtype, torch.float32)).sum(0)
        return (total / len(shift)).to(u.dtype)
    count, positions, channels = u.shape
    s = u.float() * scale + shift
    threshold = threshold24(s).repeat_interleave(len(rows) // count, dim=0)
    uniform = random.words(seed, rows, positions * channels, where) >> (32 - UNIFORM_BITS)
    fired = torch.where(uniform.view_as(threshold) < threshold, 1.0, -1.0)
    return torch.where(threshold.isnan(), threshold, fired).to(u.dtype)


def fire_backward(
    grad: Tensor, u: Tensor, scale: Tensor, shift: Tensor, estimator: Estimator
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of :func:`fire` with respect to u, scale and shift: those of E[z'] as the estimator sees it.

    Args:
        grad: (R, P, C), gradient at the samples.
        u: (N, P, C) as in the forward pass.
        scale: (Q, C).
        shift: (Q, C), or (K, Q, C) of populations.
        estimator: see :func:`derivative`.

    Returns:
        Gradients of the shapes of ``u``, ``scale`` and ``shift``.
    """
    # float64 stays float64, so that gradients can be checked by finite differences.
    wide = torch.promote_types(u.dtype, torch.float32)
    s = u.to(wide) * scale
    # scale and shift are the same at all positions or differ at each.
    summed = (0, 1) if len(scale) == 1 else (0,)
    arriving = grad.to(wide).view(len(u), -1, *u.shape[1:]).sum(1)
    members = shift if shift.dim() == 3 else shift[None]
    arriving = arriving / len(members) if len(members) > 1 else arriving
    total, by_shift = torch.zeros_like(arriving), []
    for member in members:
        part = arriving * derivative(s + member, estimator)
        total += part
        by_shift.append(part.sum(summed).view_as(member))
    by_scale = (total * u).sum(summed).view_as(scale).to(scale.dtype)
    return (total * scale).to(u.dtype), by_scale, torch.stack(by_shift).view_as(shift).to(shift.dtype)


def fire_max(u: Tensor, scale: Tensor, shift: Tensor, seed: Tensor, rows: Tensor, where: int) -> Tensor:
    r"""Sample the maximum of the signs of each window: +1 unless all K neurons of it are -1.

    Neurons are independent given their inputs, so that P(max = 1) = 1 - prod_k (1 - P_k), and one number
    decides a window. The law is that of K samples and their maximum.

    Args:
        u: (N, \*P, \*K, C): inputs, positions of windows along each dimension, positions in a window along
            each dimension, neurons; float32, bfloat16 or float64.
        scale: float32 (1, \*1, \*1, C), or (1, \*P, \*K, C).
        shift: as ``scale``.
        seed: int64 scalar.
        rows: int64 (R, 2), see :func:`fire`.
        where: the place of the draw, see :func:`nsm.random.place`.

    Returns:
        (R, \*P, C) in the dtype of ``u``; NaN where s of any neuron of a window is NaN. Element (p, c) of a
        row is number p C + c of its stream.
    """
    dims = (u.dim() - 2) // 2
    s = u.float() * scale + shift
    silent = _product((_ONE - threshold24(s)) * (1.0 / _ONE), dims)
    threshold = (_ONE - torch.round(silent * _ONE)).repeat_interleave(len(rows) // len(u), dim=0)
    uniform = random.words(seed, rows, threshold[0].numel(), where) >> (32 - UNIFORM_BITS)
    fired = torch.where(uniform.view_as(threshold) < threshold, 1.0, -1.0)
    return torch.where(threshold.isnan(), threshold, fired).to(u.dtype)


def _product(factors: Tensor, dims: int) -> Tensor:
    """Product over the window's dimensions, one factor after the other."""
    factors = factors.flatten(1 + dims, 2 * dims)
    result = factors.select(1 + dims, 0)
    for k in range(1, factors.shape[1 + dims]):
        result = result * factors.select(1 + dims, k)
    return result


def fire_max_backward(
    grad: Tensor, u: Tensor, scale: Tensor, shift: Tensor, estimator: Estimator
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Gradients of :func:`fire_max` with respect to u, scale and shift: those of E[max], d E[max]/d s_k =
    prod_{j != k} (1 - P_j) d z'_k/d s_k with the estimator's derivative. Every neuron gets its share,
    whatever was drawn.

    Args:
        grad: (R, \*P, C), gradient at the samples.
        u: as in the forward pass.
        scale: as in the forward pass.
        shift: as in the forward pass.
        estimator: see :func:`derivative`.

    Returns:
        Gradients of the shapes of ``u``, ``scale`` and ``shift``.
    """
    wide = torch.promote_types(u.dtype, torch.float32)
    dims = (u.dim() - 2) // 2
    s = u.to(wide) * scale + shift
    silent = (0.5 * torch.special.erfc(s)).flatten(1 + dims, 2 * dims)
    # Not the product divided by each: it may be 0.
    apart = torch.eye(silent.shape[1 + dims], dtype=torch.bool, device=u.device)[..., None]
    others = torch.where(apart, 1.0, silent.unsqueeze(1 + dims)).prod(2 + dims).view_as(s)
    summed = grad.to(wide).view(len(u), -1, *grad.shape[1:]).sum(1)
    windows = u.shape[1 + dims : 1 + 2 * dims]
    total = (
        summed.view(*summed.shape[:-1], *(1 for _ in windows), summed.shape[-1])
        * others
        * derivative(s, estimator)
    )
    by_u, by_scale, by_shift = total * scale, total * u, total
    return (
        by_u.to(u.dtype),
        by_scale.sum_to_size(scale.shape).to(scale.dtype),
        by_shift.sum_to_size(shift.shape).to(shift.dtype),
    )
