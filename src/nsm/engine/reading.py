"""What torch modules say: numbers that are finite, sides of kernels, connections that fit, averages."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from nsm.engine.chain import CompileError
from nsm.engine.steps import Floats, Geometry, Pair, Pool, Real


def float32(values: Tensor) -> Floats:
    """A copy.

    Raises:
        CompileError: if a value is not finite.
    """
    array: Floats = values.detach().to("cpu", torch.float32).numpy().copy()
    if not np.isfinite(array).all():
        raise CompileError("it holds values that are not finite")
    return array


def bias_of(values: Tensor | None, geometry: Geometry) -> Floats:
    """A layer's bias, zeros where it has none (which torch's annotations deny)."""
    return np.zeros(geometry.neurons, np.float32) if values is None else float32(values)


def pair(value: object) -> Pair:
    """(height, width), of a number for both or of two."""
    if isinstance(value, int):
        return value, value
    assert isinstance(value, tuple)
    height, width = value
    return height, width


def checked(geometry: Geometry) -> Geometry:
    """The geometry itself.

    Raises:
        CompileError: if it does not fit, see :meth:`nsm.engine.steps.Geometry.check`.
    """
    try:
        geometry.check()
    except ValueError as error:
        raise CompileError(str(error)) from error
    return geometry


def mean_of(pool: Pool) -> Real:
    """The averages of real numbers as a layer's products.

    Raises:
        CompileError: if the windows do not fit the image.
    """
    channels = pool.inputs[0]
    geometry = checked(Geometry(pool.inputs, channels, pool.kernel, pool.stride, groups=channels))
    weights = np.full(geometry.weight_shape, 1.0 / geometry.fan_in, np.float32)
    return Real(geometry, weights, np.zeros(channels, np.float32))
