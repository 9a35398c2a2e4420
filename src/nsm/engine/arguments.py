"""From a layer's law to the numbers that a program computes with.

A neuron fires with probability Phi(x), x = E[u] / sqrt(Var[u]). Every number here is made in float64 and
rounded to float32 once; each neuron is scaled so that its largest variance is about 1, which changes no x.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nsm.engine.steps import (
    Classifier,
    First,
    Floats,
    Geometry,
    Sampled,
    largest_squared_weight,
    spacing,
)

UNITS = 15000  # of the argument, to a standard deviation of u: kArgument of the kernels
_Wide = NDArray[np.float64]


class Fixed(NamedTuple):
    """UNITS x = sum * scale + shift, where the variance does not depend on the input.

    Attributes:
        scale: float32 (kinds, neurons).
        shift: float32 (kinds, K, neurons), K neurons in each place; infinite for a neuron that is sure.
        kinds: int32 (positions,), the row of each position: zero padding makes them differ.
    """

    scale: Floats
    shift: Floats
    kinds: NDArray[np.int32]


class Varying(NamedTuple):
    """UNITS x = (sum * scale + shift) / sqrt(sum of squares * power + floor).

    Attributes:
        weights: what the sum is over: the layer's, in its first layer scaled by powers of two.
        squares: what the sum of squares is over: float32 w^2 in the first layer, else uint8.
        scale: float32 (neurons,).
        shift: float32 (K, neurons), K neurons in each place.
        power: float32 (neurons,).
        floor: float32 (neurons,).
    """

    weights: NDArray[np.float32] | NDArray[np.int8]
    squares: NDArray[np.float32] | NDArray[np.uint8]
    scale: Floats
    shift: Floats
    power: Floats
    floor: Floats


def of_first(step: First) -> Varying:
    """The numbers of a first layer, whose sums are over real inputs."""
    noise, weights = step.noise, step.weights
    by_neuron = (1, 2, 3)
    _, exponents = np.frexp(np.abs(weights).max(axis=by_neuron))
    scaled = np.ldexp(weights, -exponents[:, None, None, None])
    squares = np.square(scaled.astype(np.float64))
    unit = np.ldexp(1.0, exponents.astype(np.int64))
    variance = noise.variance * unit**2
    normal = _inverse_root(variance * squares.sum(axis=by_neuron) + noise.additive)
    return Varying(
        weights=scaled,
        squares=squares.astype(np.float32),
        scale=_rounded(UNITS * normal * unit * noise.gain),
        shift=_rounded(UNITS * normal * noise.biases),
        power=_rounded(variance * normal**2),
        floor=_rounded(noise.additive * normal**2),
    )


def of_signs(step: Sampled, area: int) -> Fixed:
    """The numbers of a layer whose variance is constant: on signs, or on averages of ``area`` of them."""
    noise, scale, weights = step.noise, step.scale.astype(np.float64), _wide(step.weights)
    power = _power(weights, step.geometry)
    rows, kinds = np.unique(power, axis=0, return_inverse=True)
    variance = noise.variance / step.pooled * scale**2 * rows + noise.additive
    inverse = _inverse_root(variance, zero=0.0)
    mean = scale * noise.gain
    shift = noise.biases - mean * weights.sum(axis=(1, 2, 3))
    # Without variance nothing is heard: u is the bias, and the sum is not asked.
    sure = np.where(noise.biases >= 0, np.inf, -np.inf)
    return Fixed(
        scale=_rounded(UNITS * mean * inverse / area),
        shift=_rounded(np.where(variance[:, None] > 0, UNITS * shift * inverse[:, None], sure)),
        kinds=kinds.reshape(-1).astype(np.int32),
    )


def beyond(step: Sampled | Classifier) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Sums of the weights of what lies in the padding: (int32 (kinds, neurons), int32 (positions,)), the
    second the kind of each position, -1 where nothing does.
    """
    weights = torch.from_numpy(_wide(step.weights))
    ones = torch.ones(1, *step.geometry.inputs, dtype=torch.float64)
    heard = correlate(ones, weights, step.geometry)[0].flatten(1).t()
    rows, kinds = np.unique((weights.sum((1, 2, 3)) - heard).numpy(), axis=0, return_inverse=True)
    nothing = np.logical_not(rows.any(axis=1))
    kinds = kinds.reshape(-1)
    return rows.astype(np.int32), np.where(nothing[kinds], -1, kinds).astype(np.int32)


def of_synapses(step: First | Sampled, area: int) -> tuple[Floats, Floats]:
    """(scale, shift), float32 (neurons,), of a layer whose every synapse is drawn: it fires where what is
    received + (sum * scale + shift) >= 0, in units of a weight and 1 / area of an input.
    """
    noise = step.noise
    unit = step.scale.astype(np.float64) if isinstance(step, Sampled) else np.ones(len(noise.gain))
    surely = noise.gain.astype(np.float64) - noise.limit / 2**16
    return _rounded(surely), _rounded(noise.bias / unit * area)


def of_averages(step: Sampled, area: int) -> Varying:
    """The numbers of a layer whose variance depends on its inputs, averages of ``area`` neurons each."""
    noise, scale, weights = step.noise, step.scale.astype(np.float64), _wide(step.weights)
    squares, unit = squared_weights(step, largest_squared_weight(area))
    factor = noise.variance * scale**2
    normal = _inverse_root(factor * np.square(weights).sum(axis=(1, 2, 3)) + noise.additive)
    slope = _rounded(UNITS * normal * scale * noise.gain / area)
    # What averages that are all 0 give in float32: u is the bias there, which decides alone.
    sums = (area * weights.sum(axis=(1, 2, 3))).astype(np.float32)
    middle = _rounded(slope * sums.astype(np.float64))
    return Varying(
        weights=step.weights,
        squares=squares,
        scale=slope,
        shift=_rounded(UNITS * normal * noise.biases - middle),
        power=_rounded(normal**2 * factor * unit * (spacing(area) / area) ** 2),
        floor=_rounded(normal**2 * noise.additive),
    )


def squared_weights(step: Sampled, largest: int) -> tuple[NDArray[np.uint8], _Wide]:
    """Squares of a layer's weights in whole units: (squares, units), w^2 ~ squares * unit of the neuron.

    Rounded so that the sum over each neuron is right to half a unit: up where the fraction is largest.
    """
    exact = np.square(_wide(step.weights)).reshape(len(step.weights), -1)
    unit = np.maximum(exact.max(axis=1), 1.0) / largest
    shares = exact / unit[:, None]
    whole = np.floor(shares)
    lacking = np.rint(shares.sum(axis=1) - whole.sum(axis=1)).astype(np.int64)
    rank = np.argsort(np.argsort(whole - shares, axis=1, kind="stable"), axis=1, kind="stable")
    squares = whole + (rank < lacking[:, None])
    return squares.reshape(step.weights.shape).astype(np.uint8), unit


def of_classifier(step: Classifier, area: int) -> tuple[Floats, Floats]:
    """(scale, shift), float32 (classes,): logits = sum * scale + shift."""
    scale = step.scale.astype(np.float64)
    shift = step.bias - scale * _wide(step.weights).sum(axis=(1, 2, 3))
    return _rounded(scale / area), _rounded(shift)


def correlate(x: Tensor, weights: Tensor, geometry: Geometry, padding: float = 0.0) -> Tensor:
    """The geometry's convolution of images (N, channels, height, width): (N, neurons, height, width)."""
    top, left, bottom, right = geometry.padding
    padded = torch.nn.functional.pad(x, (left, right, top, bottom), value=padding)
    return torch.nn.functional.conv2d(
        padded, weights, None, geometry.stride, 0, geometry.dilation, geometry.groups
    )


def _power(weights: _Wide, geometry: Geometry) -> _Wide:
    """sum_j w_ij^2 z_j^2 for z_j = +1 or -1, and 0 in the padding: (positions, neurons), or one position for
    all where there is no padding.
    """
    squares = np.square(weights)
    if not any(geometry.padding):
        positions = geometry.outputs[1] * geometry.outputs[2]
        return np.broadcast_to(squares.sum(axis=(1, 2, 3)), (positions, geometry.neurons))
    ones = torch.ones(1, *geometry.inputs, dtype=torch.float64)
    sums = correlate(ones, torch.from_numpy(squares), geometry)
    wide: _Wide = sums[0].flatten(1).t().numpy()
    return wide


def _wide(values: NDArray[np.int8]) -> _Wide:
    return values.astype(np.float64)


def _inverse_root(variance: _Wide, zero: float = 1.0) -> _Wide:
    """1 / sqrt(variance), and ``zero`` where that is 0."""
    root = np.sqrt(np.where(variance > 0, variance, 1.0))
    inverse: _Wide = np.where(variance > 0, 1.0 / root, zero)
    return inverse


def _rounded(values: _Wide) -> Floats:
    """To float32, what is finite to what is finite: infinity times a sum of 0 would be no number."""
    largest = np.finfo(np.float32).max
    finite = np.where(np.isinf(values), values, values.clip(-largest, largest)).astype(np.float32)
    return finite + np.float32(0)  # -0 to +0: some kernels ask for an argument's sign bit
