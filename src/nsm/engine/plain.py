"""A program in plain torch: slow and obvious, and bit for bit the samples of the kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from nsm import random
from nsm.engine import arguments
from nsm.engine.steps import (
    PANEL,
    Classifier,
    First,
    Pair,
    Pool,
    Real,
    Sampled,
    Step,
    areas,
    draws_synapses,
    is_residual,
    spacing,
)

# 2^17 (1 - Phi(y / UNITS)) for y = 2048 k + f: the k-th base - F (slope - F curve), F = f / 2048, as in the
# kernels.
_BASE = (
    65535, 58418, 51432, 44702, 38337, 32427, 27044, 22229, 18003, 14361, 11281, 8724, 6640, 4973, 3665,
    2657, 1894, 1328, 916, 620, 413, 271, 174, 110, 68, 41, 24, 14, 8, 3, 1, 2,
)  # fmt: skip
_SLOPE = (
    7150, 7084, 6887, 6575, 6160, 5656, 5107, 4519, 3930, 3350, 2805, 2306, 1858, 1469, 1142, 871, 650,
    477, 346, 243, 169, 117, 77, 50, 32, 21, 12, 7, 5, 0, 0, 3,
)  # fmt: skip
_CURVE = (
    33, 98, 156, 209, 251, 273, 293, 293, 289, 270, 248, 223, 192, 162, 135, 109, 85, 65, 51, 37, 27,
    20, 13, 8, 6, 5, 3, 0, 2, 0, 0, 0,
)  # fmt: skip
_LARGEST = 65535.0

# 1 - Phi(y / UNITS) in float32: the k-th level + f (fall + f bend).
_LEVEL = (
    0.500005245, 0.445704848, 0.39240545, 0.341053426, 0.292489976, 0.24741061, 0.206337035, 0.169603452,
    0.137357116, 0.109571919, 0.0860722065, 0.0665635467, 0.0506667905, 0.0379521213, 0.027970124,
    0.0202780142, 0.0144598056, 0.0101401573, 0.00699224137, 0.00474052737, 0.00315957493, 0.00207004417,
    0.00133303041, 0.000843672256, 0.000524743868, 0.000320722902, 0.000192616382, 0.000113660819,
    6.58958816e-05, 3.75329837e-05, 2.10016915e-05, 1.1544159e-05,
)  # fmt: skip
_FALL = (
    -2.66423795e-05, -2.6393438e-05, -2.56623061e-05, -2.44890925e-05, -2.29365196e-05, -2.10843718e-05,
    -1.9022722e-05, -1.68447277e-05, -1.46397988e-05, -1.24878152e-05, -1.0454869e-05, -8.59076499e-06,
    -6.92830008e-06, -5.48407752e-06, -4.26052293e-06, -3.24866573e-06, -2.43125442e-06, -1.78582707e-06,
    -1.28745592e-06, -9.10981782e-07, -6.32662022e-07, -4.3123984e-07, -2.88503713e-07, -1.8943912e-07,
    -1.22088281e-07, -7.72262112e-08, -4.79448765e-08, -2.92150517e-08, -1.74726367e-08, -1.02564686e-08,
    -5.90915183e-09, -3.34149375e-09,
)  # fmt: skip
_BEND = (
    6.02982456e-11, 1.77614409e-10, 2.85216684e-10, 3.77610193e-10, 4.50642718e-10, 5.01802933e-10,
    5.30324895e-10, 5.37101308e-10, 5.24431165e-10, 4.95651409e-10, 4.5470927e-10, 4.05735306e-10,
    3.52666479e-10, 2.98955055e-10, 2.4738131e-10, 1.99970582e-10, 1.58002042e-10, 1.2208716e-10,
    9.22923474e-11, 6.82809295e-11, 4.94536495e-11, 3.50728821e-11, 2.43619985e-11, 1.65769447e-11,
    1.10514115e-11, 7.21964415e-12, 4.62225874e-12, 2.90056564e-12, 1.78420744e-12, 1.07592461e-12,
    6.36103583e-13, 3.68736048e-13,
)  # fmt: skip


def limits(argument: Tensor) -> tuple[Tensor, Tensor]:
    """Thresholds for arguments UNITS x: a neuron fires where (U < limit) != side, U uniform in [0, 2^16).

    P(z = 1) is limit / 2^16, or 1 - limit / 2^16 where side: Phi(x) within 3e-5, and sure from |x| = 4.37 on.

    Args:
        argument: float32, any shape; not NaN.

    Returns:
        limit, int64 in [0, 2^15], and side, bool.
    """
    y = argument.abs().clamp(max=_LARGEST).round().long()
    base, slope, curve = (torch.tensor(table)[y >> 11] for table in (_BASE, _SLOPE, _CURVE))
    fraction = (y & 0x7FF) << 5
    twice = base - (fraction * (slope - (fraction * curve >> 16)) >> 16)
    return (twice + 1) >> 1, argument >= 0


def silent(argument: Tensor) -> Tensor:
    """P(z = -1) in float32 for arguments UNITS x, within 7e-6 of 1 - Phi(x); 0 or 1 from |x| = 4.37 on."""
    y = argument.abs().clamp(max=_LARGEST).round()
    segment = y.long() >> 11
    level, fall, bend = (
        torch.tensor(table, dtype=torch.float32)[segment] for table in (_LEVEL, _FALL, _BEND)
    )
    f = (y.long() & 0x7FF).float()
    tail = torch.where(y < _LARGEST, (bend * f + fall) * f + level, 0.0)
    return torch.where(argument >= 0, tail, 1.0 - tail)


def limits_of_maximum(argument: Tensor) -> tuple[Tensor, Tensor]:
    """As :func:`limits`, for the maximum over the last dimension: P = 1 - prod_k P(z_k = -1)."""
    product = silent(argument[..., 0])
    for k in range(1, argument.shape[-1]):
        product = product * silent(argument[..., k])
    limit = (65536.0 * product).round().long()
    never = limit == 65536
    return torch.where(never, 0, limit), ~never


def logits(steps: Sequence[Step], x: Tensor, *, samples: Tensor, inputs: Tensor, seed: int) -> Tensor:
    """What every sample says of every input.

    Args:
        steps: of a checked program.
        x: float32 (N, channels, height, width).
        samples: int64 (S,), sample indices.
        inputs: int64 (N,), the inputs' indices in the random streams.
        seed: in [0, 2^63).

    Returns:
        float32 (N, S, classes).

    Raises:
        FloatingPointError: if an input is so large that the first layer overflows.
    """
    *layers, last = steps
    *found, area_of_last = areas(steps)
    assert isinstance(last, Classifier)
    rows = random.row_indices(samples.repeat(len(inputs)), inputs.repeat_interleave(len(samples)))
    codes = x
    for step, area in zip(layers, found, strict=True):
        if isinstance(step, Pool):
            codes = _pooled(step, codes)
            continue
        if isinstance(step, Real):
            codes = _real(step, codes)
            continue
        assert isinstance(step, First | Sampled)
        if draws_synapses(step):
            if isinstance(step, First):
                codes = codes.repeat_interleave(len(samples), dim=0)
            fired = _with_synapses(step, codes, area, rows, seed)
            codes = codes + fired if is_residual(step) else fired
            continue
        if isinstance(step, First):
            argument = _first(step, codes).repeat_interleave(len(samples), dim=0)
        else:
            argument = _argument(step, codes, area)
        fired = _fired(argument, step, rows, seed)
        codes = codes + fired if is_residual(step) else fired
    scale, shift = (torch.from_numpy(values) for values in arguments.of_classifier(last, area_of_last))
    sums = _sums(codes, last.weights, last, area_of_last).flatten(1)
    return (sums * scale + shift).view(len(inputs), len(samples), -1)


def _real(step: Real, x: Tensor) -> Tensor:
    """What a deterministic layer makes of real inputs, (N, neurons, height, width)."""
    y = _in_order(step, step.weights, _real_fields(step, x)) + torch.from_numpy(step.bias)[:, None, None]
    return torch.where(y < 0, 0.0, y) if step.rectified else y


def _first(step: First, x: Tensor) -> Tensor:
    """UNITS x of a first layer, (N, K, neurons, height, width)."""
    numbers = arguments.of_first(step)
    fields = _real_fields(step, x)
    mean = _in_order(step, numbers.weights, fields)
    variance = _in_order(step, numbers.squares, fields * fields)
    argument, known = _quotient(mean, variance, numbers)
    if argument.isnan().any() or not known.isfinite().all():
        raise FloatingPointError("the first layer overflows")
    return argument


def _real_fields(step: Real | First, x: Tensor) -> Tensor:
    """Receptive fields of real inputs, (N, groups, channels of a group, cells of the kernel, positions)."""
    if step.binarize:
        x = torch.where(x >= 0.5, 1.0, -1.0)
    geometry = step.geometry
    top, left, bottom, right = geometry.padding
    padded = F.pad(x, (left, right, top, bottom))
    fields = F.unfold(padded, geometry.kernel, geometry.dilation, 0, geometry.stride)
    return fields.view(len(x), geometry.groups, geometry.weight_shape[1], -1, fields.shape[-1])


def _in_order(step: Real | First, weights: NDArray[Any], fields: Tensor) -> Tensor:
    """Sums (N, neurons, height, width), added up unit by unit, channels innermost: the order that the kernels
    keep.
    """
    geometry = step.geometry
    grouped = torch.from_numpy(weights).reshape(geometry.groups, -1, *geometry.weight_shape[1:])
    sums = fields.new_zeros(len(fields), geometry.groups, grouped.shape[1], fields.shape[-1])
    for ky in range(geometry.kernel[0]):
        for kx in range(geometry.kernel[1]):
            for channel in range(geometry.weight_shape[1]):
                value = fields[:, :, channel, ky * geometry.kernel[1] + kx][:, :, None]
                sums = sums + grouped[:, :, channel, ky, kx, None] * value
    return sums.view(len(fields), *geometry.outputs)


def _argument(step: Sampled, codes: Tensor, area: int) -> Tensor:
    """UNITS x of a layer on codes, (R, K, neurons, height, width)."""
    sums = _sums(codes, step.weights, step, area)
    if step.pooled:
        fixed = arguments.of_signs(step, area)
        # (positions, K, neurons) to (K, neurons, height, width).
        scale, shift = (
            torch.from_numpy(values[fixed.kinds]).movedim(0, -1).reshape(-1, *step.geometry.outputs)
            for values in (fixed.scale[:, None], fixed.shift)
        )
        argument: Tensor = sums[:, None] * scale + shift
        return argument
    numbers = arguments.of_averages(step, area)
    distance = (codes - area) // spacing(area)
    weights = torch.from_numpy(numbers.squares.astype(np.float64))
    squares = arguments.correlate((distance * distance).double(), weights, step.geometry)
    return _quotient(sums, squares.float(), numbers)[0]


def _sums(codes: Tensor, weights: np.ndarray, step: Sampled | Classifier, area: int) -> Tensor:
    """Whole numbers, exact in float64, rounded to float32 as the kernels round them."""
    wide = torch.from_numpy(weights.astype(np.float64))
    return arguments.correlate(codes.double(), wide, step.geometry, padding=area).float()


def _quotient(sums: Tensor, squares: Tensor, numbers: arguments.Varying) -> tuple[Tensor, Tensor]:
    """UNITS x of each neuron of a population, (R, K, neurons, height, width), and the variance of all of them
    that it was made with, K being 1.
    """
    scale, shift, power, floor = (
        torch.from_numpy(values)[..., None, None]
        for values in (numbers.scale, numbers.shift, numbers.power, numbers.floor)
    )
    mean, variance = sums[:, None] * scale + shift, (squares * power + floor)[:, None]
    sure = torch.where(mean >= 0, torch.inf, -torch.inf)
    return torch.where(variance > 0, mean / variance.sqrt(), sure), variance


def _fired(argument: Tensor, step: First | Sampled, rows: Tensor, seed: int) -> Tensor:
    """Codes, int64 (R, neurons, height, width), of ``argument`` (R, K, neurons, height, width) or of its
    windows' maxima: 0 and 2, added up over K neurons.
    """
    groups, window = step.geometry.groups, step.window
    if window == (1, 1):
        limit, side = limits(argument)
    else:
        limit, side = limits_of_maximum(_windows(argument, window, window).flatten(5))
    count, population, neurons, height, width = limit.shape
    panels = -(-neurons // groups // PANEL)
    where = random.place(step.noise.layer, purpose=random.Purpose.PROGRAM)
    shape = (count, height, width, groups, panels, population, PANEL)
    drawn = random.halves(torch.tensor(seed), rows, math.prod(shape[1:]), where).view(shape)
    each = drawn.movedim(5, 1).flatten(5)[..., : neurons // groups].flatten(4)
    return 2 * ((each.movedim(-1, 2) < limit) != side).long().sum(1)


def _with_synapses(step: First | Sampled, x: Tensor, area: int, rows: Tensor, seed: int) -> Tensor:
    """Codes 0 and 2, int64 (R, neurons, height, width), of neurons whose every synapse is drawn.

    Args:
        step: which layer.
        x: (R, channels, height, width), codes, or real numbers for a first layer.
        area: A of the codes.
        rows: (R, 2), sample and input of each row.
        seed: in [0, 2^63).
    """
    geometry, noise = step.geometry, step.noise
    top, left, bottom, right = geometry.padding
    if isinstance(step, First):
        x = torch.where(x >= 0.5, 1.0, -1.0) if step.binarize else x
    else:
        x = (x - area).double()
    padded = F.pad(x, (left, right, top, bottom))
    fields = F.unfold(padded, geometry.kernel, geometry.dilation, 0, geometry.stride)
    count, (_, height, width), groups = len(x), geometry.outputs, geometry.groups
    fields = fields.view(count, groups, geometry.weight_shape[1], -1, height * width)
    scale, shift = (torch.from_numpy(values)[:, None, None] for values in arguments.of_synapses(step, area))
    weights = torch.from_numpy(step.weights).to(fields.dtype).reshape(groups, -1, *geometry.weight_shape[1:])
    neurons = weights.shape[1]
    panels = -(-neurons // PANEL)
    first = torch.arange(height * width * groups * panels) * geometry.fan_in
    where = random.place(noise.layer, purpose=random.Purpose.PROGRAM)
    received = fields.new_zeros(count, groups, neurons, height * width)
    total, size = received.clone(), received.clone()
    unit = 0
    for ky in range(geometry.kernel[0]):
        for kx in range(geometry.kernel[1]):
            for channel in range(geometry.weight_shape[1]):
                field = fields[:, :, None, channel, ky * geometry.kernel[1] + kx]
                product = weights[:, :, channel, ky, kx, None] * field
                drawn = random.grouped_halves(torch.tensor(seed), rows, first + unit, where)
                drawn = drawn.view(count, height * width, groups, panels * PANEL)[..., :neurons]
                received = received + torch.where(drawn.permute(0, 2, 3, 1) < noise.limit, product, 0.0)
                total, size = total + product, size + product.abs()
                unit += 1
    if not size.isfinite().all():
        raise FloatingPointError("the first layer overflows")
    shaped = (count, geometry.neurons, height, width)
    u = received.view(shaped).float() + (total.view(shaped).float() * scale + shift)
    return 2 * (u >= 0).long()


def _pooled(step: Pool, codes: Tensor) -> Tensor:
    windows = _windows(codes, step.kernel, step.stride)
    return windows.sum((-1, -2)) if step.average else windows.amax((-1, -2))


def _windows(values: Tensor, kernel: Pair, stride: Pair) -> Tensor:
    """(..., height, width, *kernel) of (..., height, width)."""
    return values.unfold(-2, kernel[0], stride[0]).unfold(-2, kernel[1], stride[1])
