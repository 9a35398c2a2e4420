"""Neurons straight from their receptive fields: products, variance and maximum of a window in one go.

:func:`sense` is the obvious form of an operator whose kernel in :mod:`nsm.native` gives the same samples, bit
for bit, and is tested against it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nsm.functional import Estimator, fire_max, fire_max_backward, standardize, standardize_backward


class Fields(NamedTuple):
    """Where receptive fields lie in a padded input, along each of its dimensions.

    Attributes:
        stride: distance of neighbouring neurons.
        dilation: distance of neighbouring inputs of one neuron.
        window: neurons that are pooled by their maximum, side by side.
    """

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    window: tuple[int, ...]

    @property
    def members(self) -> int:
        """Neurons of a window."""
        return math.prod(self.window)


def counts(size: Sequence[int], weight: Sequence[int], fields: Fields) -> tuple[int, ...]:
    """Whole windows along each dimension, for an input and weights of these shapes."""
    return tuple(
        ((length - dilation * (kernel - 1) - 1) // stride + 1) // window
        for length, kernel, stride, dilation, window in zip(size[2:], weight[2:], *fields, strict=True)
    )


def receptive_fields(x: Tensor, weight: Sequence[int], fields: Fields) -> Tensor:
    r"""What each neuron sees, as a view: (N, \*P, \*K, C_in, \*kernel) for ``x`` (N, C_in, \*size).

    Args:
        x: padded inputs.
        weight: shape of the weights, (C, C_in, \*kernel).
        fields: where they lie.
    """
    batch, channel, *steps = x.stride()
    along = [step * stride for step, stride in zip(steps, fields.stride, strict=True)]
    windows = [step * window for step, window in zip(along, fields.window, strict=True)]
    taps = [step * dilation for step, dilation in zip(steps, fields.dilation, strict=True)]
    return x.as_strided(
        (len(x), *counts(x.shape, weight, fields), *fields.window, *weight[1:]),
        (batch, *windows, *along, channel, *taps),
    )


def _sensed(x: Tensor, weight: Tensor, fields: Fields) -> tuple[Tensor, Tensor]:
    """w.z and sum_j (w_j z_j)^2, (N, *P, *K, C), summed in the order of the inputs of a neuron."""
    seen = receptive_fields(x, weight.shape, fields).flatten(2 * x.dim() - 3)
    u = seen.new_zeros(*seen.shape[:-1], len(weight))
    power = torch.zeros_like(u)
    product = torch.empty_like(u)
    for one, w in zip(seen.unbind(-1), weight.flatten(1).t(), strict=True):
        torch.mul(one[..., None], w, out=product)
        u += product
        power += product.square_()
    return u, power


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
    where: int,
) -> Tensor:
    r"""Sample the maximum of each window of neurons straight from real inputs: :func:`standardize` and
    :func:`fire_max` of receptive fields.

    Args:
        x: (N, C_in, \*size), padded.
        weight: (C, C_in, \*kernel).
        gain: (C,), mu + a.
        bias: (C,).
        variance: s^2.
        extra: eta^2.
        fields: where the receptive fields lie.
        seed: int64 scalar.
        rows: int64 (R, 2), see :func:`fire`.
        where: the place of the draw, see :func:`nsm.random.place`.

    Returns:
        (R, \*P, C), float32.
    """
    with torch.no_grad():
        s = standardize(*_sensed(x, weight, fields), gain, bias, variance, extra)
    one = s.new_ones(*(1,) * (s.dim() - 1), len(weight))
    return fire_max(s, one, torch.zeros_like(one), seed, rows, where)


def sense_backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    gain: Tensor,
    bias: Tensor,
    variance: float,
    extra: float,
    fields: Fields,
    estimator: Estimator,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Gradients of :func:`sense` with respect to weight, gain and bias.

    Args:
        grad: (R, \*P, C), gradient at the samples.
        x: as in the forward pass, and so on.
        weight: (C, C_in, \*kernel).
        gain: (C,).
        bias: (C,).
        variance: s^2.
        extra: eta^2.
        fields: as in the forward pass.
        estimator: see :func:`derivative`.
    """
    u, power = _sensed(x, weight, fields)
    s = standardize(u, power, gain, bias, variance, extra)
    one = s.new_ones(*(1,) * (s.dim() - 1), len(weight))
    by_s, _, _ = fire_max_backward(grad, s, one, torch.zeros_like(one), estimator)
    by_s, u, power = (tensor.reshape(1, -1, len(weight)) for tensor in (by_s, u, power))
    by_u, by_power, by_gain, by_bias = standardize_backward(by_s, u, power, gain, bias, variance, extra)
    seen = receptive_fields(x, weight.shape, fields).reshape(-1, weight[0].numel())
    direct, squared = by_u[0].t() @ seen, by_power[0].t() @ seen.square()
    by_weight = direct + 2.0 * weight.flatten(1) * squared
    return by_weight.view_as(weight), by_gain, by_bias
