"""Batch normalization with its running statistics is one factor and one constant for each channel: folded
into the layer beside it, or a layer of its own.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from nsm.engine.steps import Floats, Geometry, Real, Shape

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


class Affine(NamedTuple):
    """y = scale * x + shift, float64; of each channel, or, (channels, height, width), of each neuron."""

    scale: NDArray[np.float64]
    shift: NDArray[np.float64]


def affine(norm: BatchNorm) -> Affine:
    """What a batch normalization does in evaluation.

    Raises:
        ValueError: if it keeps no running statistics, or they or its parameters are not finite.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("it must keep running statistics (track_running_stats=True)")
    scale = 1.0 / np.sqrt(_wide(norm.running_var) + norm.eps)
    shift = -_wide(norm.running_mean) * scale
    weight: Tensor | None = norm.weight  # torch's annotations deny None
    bias: Tensor | None = norm.bias
    if weight is not None:
        scale, shift = scale * _wide(weight), shift * _wide(weight)
    if bias is not None:
        shift = shift + _wide(bias)
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        raise ValueError("it holds values that are not finite")
    return Affine(scale, shift)


def _wide(values: Tensor) -> NDArray[np.float64]:
    wide: NDArray[np.float64] = values.detach().double().cpu().numpy()
    return wide


def behind(step: Real, by: Affine) -> Real:
    """A real layer, not rectified, and the normalization behind it."""
    weights = step.weights * by.scale[:, None, None, None]
    bias = step.bias * by.scale + by.shift
    return replace(step, weights=weights.astype(np.float32), bias=bias.astype(np.float32))


def in_front(weights: Floats, bias: Floats, by: Affine) -> tuple[Floats, Floats]:
    """Weights and bias of a classifier together with the normalization of its inputs.

    Args:
        weights: float32 (classes, channels, height, width).
        bias: float32 (classes,).
        by: of each channel, (channels, 1, 1), or of each neuron.
    """
    wide = weights.astype(np.float64)
    moved = bias + (wide * by.shift).sum(axis=(1, 2, 3))
    return (wide * by.scale).astype(np.float32), moved.astype(np.float32)


def alone(by: Affine, image: Shape) -> Real:
    """A normalization as a layer with one synapse for every channel."""
    channels = image[0]
    weights = by.scale.reshape(channels, 1, 1, 1).astype(np.float32)
    return Real(Geometry(image, channels, groups=channels), weights, by.shift.astype(np.float32))
