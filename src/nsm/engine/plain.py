"""A program in plain torch: slow and obvious, and bit for bit the samples of the kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nsm import random
from nsm.engine import arguments
from nsm.engine.steps import Classifier, First, Noise, Pool, Sampled, Step, areas, spacing

PANEL = 32  # neurons of a group are numbered up to a multiple of it

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
    """
    *layers, last = steps
    assert isinstance(last, Classifier)
    rows = random.row_indices(samples.repeat(len(inputs)), inputs.repeat_interleave(len(samples)))
    codes = x
    for step, area in zip(layers, areas(steps), strict=False):
        if isinstance(step, Pool):
            codes = _pooled(step, codes)
            continue
        assert isinstance(step, First | Sampled)
        if isinstance(step, First):
            argument = _first(step, x).repeat_interleave(len(samples), dim=0)
        else:
            argument = _argument(step, codes, area)
        codes = _fired(argument, step.noise, step.geometry.groups, rows, seed)
    scale, shift = (torch.from_numpy(values) for values in arguments.of_classifier(last, areas(steps)[-1]))
    sums = _sums(codes, last.weights, last, areas(steps)[-1]).flatten(1)
    return (sums * scale + shift).view(len(inputs), len(samples), -1)


def _first(step: First, x: Tensor) -> Tensor:
    """UNITS x of a first layer, (N, neurons, height, width)."""
    numbers = arguments.of_first(step)
    if step.binarize:
        x = torch.where(x >= 0.5, 1.0, -1.0)
    geometry = step.geometry
    top, left, bottom, right = geometry.padding
    x = F.pad(x, (left, right, top, bottom))
    groups, (_, height, width) = geometry.groups, geometry.outputs
    fields = F.unfold(x, geometry.kernel, geometry.dilation, 0, geometry.stride)
    fields = fields.view(len(x), groups, geometry.weight_shape[1], -1, height * width)

    def in_order(weights: np.ndarray) -> Tensor:
        return torch.from_numpy(weights).reshape(groups, -1, *geometry.weight_shape[1:])

    weights, squares = in_order(numbers.weights), in_order(numbers.squares)
    mean = x.new_zeros(len(x), groups, weights.shape[1], height * width)
    variance = torch.zeros_like(mean)
    # Added up unit by unit, channels innermost: the order that the kernels keep.
    for ky in range(geometry.kernel[0]):
        for kx in range(geometry.kernel[1]):
            for channel in range(geometry.weight_shape[1]):
                value = fields[:, :, channel, ky * geometry.kernel[1] + kx][:, :, None]
                mean = mean + weights[:, :, channel, ky, kx, None] * value
                variance = variance + squares[:, :, channel, ky, kx, None] * (value * value)
    return _quotient(mean.view(len(x), -1, height, width), variance.view(len(x), -1, height, width), numbers)


def _argument(step: Sampled, codes: Tensor, area: int) -> Tensor:
    """UNITS x of a layer on codes, (R, neurons, height, width)."""
    sums = _sums(codes, step.weights, step, area)
    if step.pooled:
        fixed = arguments.of_signs(step, area)
        scale, shift = (
            torch.from_numpy(values[fixed.kinds]).t().reshape(1, *step.geometry.outputs)
            for values in (fixed.scale, fixed.shift)
        )
        return sums * scale + shift
    numbers = arguments.of_averages(step, area)
    distance = (codes - area) // spacing(area)
    weights = torch.from_numpy(numbers.squares.astype(np.float64))
    squares = arguments.correlate((distance * distance).double(), weights, step.geometry)
    return _quotient(sums, squares.float(), numbers)


def _sums(codes: Tensor, weights: np.ndarray, step: Sampled | Classifier, area: int) -> Tensor:
    """Whole numbers, exact in float64, rounded to float32 as the kernels round them."""
    wide = torch.from_numpy(weights.astype(np.float64))
    return arguments.correlate(codes.double(), wide, step.geometry, padding=area).float()


def _quotient(sums: Tensor, squares: Tensor, numbers: arguments.Varying) -> Tensor:
    scale, shift, power, floor = (
        torch.from_numpy(values)[:, None, None]
        for values in (numbers.scale, numbers.shift, numbers.power, numbers.floor)
    )
    mean, variance = sums * scale + shift, squares * power + floor
    sure = torch.where(mean >= 0, torch.inf, -torch.inf)
    return torch.where(variance > 0, mean / variance.sqrt(), sure)


def _fired(argument: Tensor, noise: Noise, groups: int, rows: Tensor, seed: int) -> Tensor:
    """Codes 0 and 2, int64 of the shape of ``argument`` (R, neurons, height, width)."""
    count, neurons, height, width = argument.shape
    limit, side = limits(argument)
    padded = -(-neurons // groups // PANEL) * PANEL
    where = random.place(noise.layer, purpose=random.Purpose.PROGRAM)
    drawn = random.halves(torch.tensor(seed), rows, height * width * groups * padded, where)
    uniform = drawn.view(count, height, width, groups, padded)[..., : neurons // groups].flatten(3)
    return 2 * ((uniform.permute(0, 3, 1, 2) < limit) != side).long()


def _pooled(step: Pool, codes: Tensor) -> Tensor:
    windows = codes.unfold(2, step.kernel[0], step.stride[0]).unfold(3, step.kernel[1], step.stride[1])
    return windows.sum((-1, -2)) if step.average else windows.amax((-1, -2))
