"""Populations of neurons that hear the same, in plain torch: the obvious form of ``torch.ops.nsm.hear``."""

from __future__ import annotations

import torch
from torch import Tensor

from nsm import random
from nsm.functional import Estimator, fire_max, fire_max_backward, standardize, standardize_backward


def hear(
    u: Tensor,
    power: Tensor | None,
    gain: Tensor,
    bias: Tensor,
    variance: float,
    extra: float,
    seed: Tensor,
    rows: Tensor,
    where: int,
) -> Tensor:
    r"""Sample the averages of populations of K neurons that hear the same, each the maximum over a window:
    :func:`standardize`, then :func:`fire_max` for each of them.

    Args:
        u: (N, \*P, \*W, C), w.z, as in :func:`fire_max`.
        power: as ``u``, sum_j w_j^2 z_j^2; None where s = u gain + bias.
        gain: (C,), mu + a.
        bias: (K, C), b.
        variance: s^2, of the noise law.
        extra: eta^2.
        seed: int64 scalar.
        rows: int64 (R, 2), see :func:`fire`.
        where: the place of the draw, see :func:`nsm.random.place`; each neuron more of a population draws at
            the layer's next use.

    Returns:
        (R, \*P, C) in the dtype of ``u``; NaN where s of any neuron of a window is NaN.
    """
    one, zero = (x.view(*(1,) * (u.dim() - 1), -1) for x in (torch.ones_like(gain), torch.zeros_like(gain)))
    wide = torch.promote_types(u.dtype, torch.float32)
    draws = [
        fire_max(
            _argument(u, power, gain, b, variance, extra), one, zero, seed, rows, where + k * random.NEXT_USE
        )
        for k, b in enumerate(bias)
    ]
    return (torch.stack(draws).to(wide).sum(0) / len(bias)).to(u.dtype)


def _argument(
    u: Tensor, power: Tensor | None, gain: Tensor, bias: Tensor, variance: float, extra: float
) -> Tensor:
    wide = torch.promote_types(u.dtype, torch.float32)
    if power is None:
        return u.to(wide) * gain + bias
    return standardize(u.to(wide), power.to(wide), gain, bias, variance, extra)


def hear_backward(
    grad: Tensor,
    u: Tensor,
    power: Tensor | None,
    gain: Tensor,
    bias: Tensor,
    variance: float,
    extra: float,
    estimator: Estimator,
) -> tuple[Tensor, Tensor | None, Tensor, Tensor]:
    r"""Gradients of :func:`hear` with respect to u, power (None where that is), gain and bias.

    Args:
        grad: (R, \*P, C), gradient at the samples.
        u: as in the forward pass, and so on.
        power: as ``u``, or None.
        gain: (C,).
        bias: (K, C).
        variance: s^2.
        extra: eta^2.
        estimator: see :func:`derivative`.
    """
    wide = torch.promote_types(u.dtype, torch.float32)
    one, zero = (x.view(*(1,) * (u.dim() - 1), -1) for x in (torch.ones_like(gain), torch.zeros_like(gain)))
    share = grad.to(wide) / len(bias)
    by_s = torch.stack(
        [
            fire_max_backward(share, _argument(u, power, gain, b, variance, extra), one, zero, estimator)[0]
            for b in bias
        ]
    ).flatten(2, -2)
    flat = u.to(wide).flatten(1, -2)
    if power is None:
        total = by_s.sum(0)
        by_u, by_gain, by_bias = total * gain, (total * flat).sum((0, 1)), by_s.sum((1, 2))
        return by_u.view(u.shape).to(u.dtype), None, by_gain, by_bias
    heard = power.to(wide).flatten(1, -2)
    by_u, by_power, by_gain, by_bias = standardize_backward(by_s, flat, heard, gain, bias, variance, extra)
    return by_u.view(u.shape).to(u.dtype), by_power.view(u.shape).to(u.dtype), by_gain, by_bias
