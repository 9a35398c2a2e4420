"""What a compiled network consists of: steps from one image of activations to the next.

Activations are images (channels, height, width); a vector is an image of one pixel, and a fully connected
layer a convolution whose kernel is as large as its image. Hidden activations are *codes*, whole numbers in
[0, 2 A] that stand for z = (code - A) / A: a neuron has A = 1 and the codes 0 and 2, and the average of k
neurons is the sum of their codes, with A = k.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]
Pair = tuple[int, int]
Floats = NDArray[np.float32]
Weights = NDArray[np.int8]

LARGEST_SIDE = 2**15
LARGEST_IMAGE = 2**24  # activations of one layer, margins included
LARGEST_WEIGHTS = 2**27  # of one layer
LARGEST_SUM = 2**31 - 1
LARGEST_VARIANCE = 1e30
# Two products of a code or a square fit 16 bits, which the kernels for AVX2 count on.
LARGEST_CODE = 128
_LARGEST_PAIR = 2**15 - 1
LARGEST_SQUARE = 127
LARGEST_WINDOW = 6  # neurons that one number decides: errors of their probabilities add up


@dataclass(frozen=True)
class Geometry:
    """How a layer's neurons are connected: torch's convolution arithmetic.

    Attributes:
        inputs: (channels, height, width) of the presynaptic image.
        neurons: output channels.
        kernel: (height, width).
        stride: (height, width).
        padding: units that are always 0 at the top, left, bottom and right.
        dilation: (height, width).
        groups: groups of channels without connections between them.
    """

    inputs: Shape
    neurons: int
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def outputs(self) -> Shape:
        """(channels, height, width) of the layer's own image."""
        top, left, bottom, right = self.padding
        sides = zip(
            (top + self.inputs[1] + bottom, left + self.inputs[2] + right),
            self.kernel,
            self.stride,
            self.dilation,
            strict=True,
        )
        height, width = ((side - dilation * (k - 1) - 1) // stride + 1 for side, k, stride, dilation in sides)
        return self.neurons, height, width

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """(neurons, channels of a group, height, width)."""
        return self.neurons, self.inputs[0] // self.groups, *self.kernel

    @property
    def fan_in(self) -> int:
        """Units in a neuron's field."""
        return math.prod(self.weight_shape[1:])

    def check(self) -> None:
        """Refuse what has no neurons or is too large for the kernels' numbers.

        Raises:
            ValueError: naming what does not fit.
        """
        sides = (*self.inputs, self.neurons, *self.kernel, *self.stride, *self.dilation, self.groups)
        if not all(1 <= side <= LARGEST_SIDE for side in sides) or not all(
            0 <= side <= LARGEST_SIDE for side in self.padding
        ):
            raise ValueError(f"sizes must be in [1, {LARGEST_SIDE}] (padding from 0), got {self}")
        if self.inputs[0] % self.groups or self.neurons % self.groups:
            raise ValueError(f"groups must divide {self.inputs[0]} and {self.neurons}, got {self.groups}")
        if any(side < 1 for side in self.outputs[1:]):
            raise ValueError(f"the kernel {self.kernel} must fit the padded image, got {self}")
        top, left, bottom, right = self.padding
        padded = self.inputs[0] * (top + self.inputs[1] + bottom) * (left + self.inputs[2] + right)
        for what, count, largest in (
            ("activations", max(padded, math.prod(self.outputs)), LARGEST_IMAGE),
            ("weights", math.prod(self.weight_shape), LARGEST_WEIGHTS),
        ):
            if count > largest:
                raise ValueError(f"a layer must have at most {largest} {what}, got {count}")


@dataclass(frozen=True, eq=False)
class Noise:
    """What a stochastic layer adds to its product: u = gain (w z) + bias, with the variance below.

    Attributes:
        gain: mu + a_i, shape (neurons,).
        bias: b_i, shape (neurons,).
        variance: s^2 of the factors xi.
        additive: variance eta^2 of the additive noise.
        layer: number of the layer in the random streams.
    """

    gain: Floats
    bias: Floats
    variance: float
    additive: float
    layer: int


@dataclass(frozen=True, eq=False)
class First:
    """The first stochastic layer: real inputs and weights; its thresholds are shared by all samples.

    Attributes:
        geometry: its connections.
        weights: float32 of ``geometry.weight_shape``.
        noise: what is added.
        binarize: whether inputs become sgn(2 x - 1) first.
    """

    geometry: Geometry
    weights: Floats
    noise: Noise
    binarize: bool


@dataclass(frozen=True, eq=False)
class Sampled:
    """A stochastic layer on codes: w = scale * weights.

    Attributes:
        geometry: its connections.
        weights: int8 of ``geometry.weight_shape``, in [-127, 127].
        scale: float32, shape (neurons,), > 0.
        noise: what is added.
        pooled: K, the signs that an input is the average of, each with a synapse of its own: the variance is
            s^2 sum_j w_ij^2 / K whatever the input. 0 where it is that of the input itself, s^2 sum_j w_ij^2
            z_j^2.
    """

    geometry: Geometry
    weights: Weights
    scale: Floats
    noise: Noise
    pooled: int = 1


@dataclass(frozen=True)
class Pool:
    """The maximum or the average of windows of codes.

    Attributes:
        inputs: (channels, height, width).
        kernel: (height, width) of a window.
        stride: (height, width) from one window to the next.
        average: whether codes are added up, else their maximum is taken.
    """

    inputs: Shape
    kernel: Pair
    stride: Pair
    average: bool

    @property
    def outputs(self) -> Shape:
        """(channels, height, width)."""
        return Geometry(self.inputs, self.inputs[0], self.kernel, self.stride).outputs

    def check(self) -> None:
        """Refuse windows that do not fit the image.

        Raises:
            ValueError: naming what does not fit.
        """
        Geometry(self.inputs, self.inputs[0], self.kernel, self.stride, groups=self.inputs[0]).check()


@dataclass(frozen=True, eq=False)
class Classifier:
    """The conventional linear layer on top: logits = scale * (weights z) + bias.

    Attributes:
        geometry: its connections; one position.
        weights: int8 of ``geometry.weight_shape``, in [-127, 127].
        scale: float32, shape (classes,), > 0.
        bias: float32, shape (classes,).
    """

    geometry: Geometry
    weights: Weights
    scale: Floats
    bias: Floats


Step = First | Sampled | Pool | Classifier


def shapes(step: Step) -> tuple[Shape, Shape]:
    """(channels, height, width) before and after a step."""
    where = step if isinstance(step, Pool) else step.geometry
    return where.inputs, where.outputs


def areas(steps: Sequence[Step]) -> list[int]:
    """A of the codes that each step receives; 1 for the first, which receives none."""
    found, area = [], 1
    for step in steps:
        found.append(area)
        area = area_behind(step, area)
    return found


def area_behind(step: Step, area: int) -> int:
    """A of the codes that a step makes of codes with ``area``."""
    if not isinstance(step, Pool):
        return 1
    return area * math.prod(step.kernel) if step.average else area


class Stage(NamedTuple):
    """A step as it is run.

    Attributes:
        step: what is done.
        area: A of the codes that it receives.
        window: (height, width) of the neurons that are drawn as one, their maximum.
    """

    step: Step
    area: int
    window: Pair


def stages(steps: Sequence[Step]) -> list[Stage]:
    """The steps as they are run: a maximum over up to 6 neurons, in windows side by side, is drawn at once.

    Given their inputs neurons are independent: P(max = 1) = 1 - prod_k (1 - P_k).
    """
    found: list[Stage] = []
    for step, area in zip(steps, areas(steps), strict=True):
        if (
            found
            and isinstance(step, Pool)
            and isinstance(found[-1].step, First | Sampled)
            and found[-1].window == (1, 1)
            and not step.average
            and step.kernel == step.stride
            and math.prod(step.kernel) <= LARGEST_WINDOW
        ):
            found[-1] = found[-1]._replace(window=step.kernel)
        else:
            found.append(Stage(step, area, (1, 1)))
    return found


def spacing(area: int) -> int:
    """The largest number that divides code - A for every code: codes are even."""
    return math.gcd(2, area)


def largest_square(area: int) -> int:
    """The largest ((code - A) / spacing)^2."""
    return (area // spacing(area)) ** 2


def largest_squared_weight(area: int) -> int:
    """The largest value of a squared weight, whose products with squared codes must fit 16 bits in pairs."""
    return min(255, _LARGEST_PAIR // (2 * largest_square(area)))


def check(steps: Sequence[Step]) -> None:
    """Refuse steps that do not make a program: order, shapes, sizes, values.

    Raises:
        ValueError: naming the step and what is wrong with it.
    """
    if len(steps) < 2 or not isinstance(steps[0], First) or not isinstance(steps[-1], Classifier):
        raise ValueError("a program must begin with a stochastic layer and end in a linear classifier")
    before: Shape | None = None
    for number, (step, area) in enumerate(zip(steps, areas(steps), strict=True)):
        try:
            _check_place(step, before, last=number == len(steps) - 1)
            _check_step(step, area)
        except ValueError as error:
            raise ValueError(f"step {number}: {error}") from error
        before = shapes(step)[1]


def _check_place(step: Step, before: Shape | None, *, last: bool) -> None:
    if isinstance(step, First) != (before is None) or isinstance(step, Classifier) != last:
        raise ValueError(f"a {type(step).__name__} step cannot stand here")
    if before is not None and shapes(step)[0] != before:
        raise ValueError(f"must take {before}, takes {shapes(step)[0]}")


def _check_step(step: Step, area: int) -> None:
    if isinstance(step, Pool):
        step.check()
        largest = 2 * area * (math.prod(step.kernel) if step.average else 1)
        if largest > LARGEST_CODE:
            raise ValueError(f"averages must be over at most {LARGEST_CODE // 2} neurons, got {largest // 2}")
        return
    step.geometry.check()
    neurons = step.geometry.neurons
    _check_array("weights", step.weights, step.geometry.weight_shape)
    if isinstance(step, Classifier):
        if step.geometry.outputs[1:] != (1, 1):
            raise ValueError(f"the classifier must have one position, got {step.geometry.outputs}")
        _check_array("bias", step.bias, (neurons,))
    else:
        _check_noise(step.noise, neurons)
    if isinstance(step, First):
        return
    if step.weights.size and int(step.weights.min()) < -127:
        raise ValueError("weights must be in [-127, 127], got -128")
    _check_array("scale", step.scale, (neurons,))
    if not (step.scale > 0).all():
        raise ValueError(f"scale must be positive, got {step.scale.min()}")
    if step.geometry.fan_in * 2 * area * 127 > LARGEST_SUM:
        raise ValueError(f"sums must stay below 2^31, got a fan-in of {step.geometry.fan_in}")
    if isinstance(step, Sampled):
        _check_variance(step, area)


def _check_variance(step: Sampled, area: int) -> None:
    if not 0 <= step.pooled <= LARGEST_SIDE:
        raise ValueError(f"pooled must be in [0, {LARGEST_SIDE}], got {step.pooled}")
    if step.pooled:
        return
    if area == 1:
        raise ValueError("pooled must be at least 1 behind neurons, got 0")
    if largest_square(area) > LARGEST_SQUARE:
        raise ValueError(
            f"a layer whose variance depends on its inputs takes averages of at most 22 neurons (an even "
            f"number) or 11, got {area}"
        )
    if step.geometry.fan_in * largest_square(area) * 255 > LARGEST_SUM:
        raise ValueError(f"sums must stay below 2^31, got a fan-in of {step.geometry.fan_in}")


def _check_noise(noise: Noise, neurons: int) -> None:
    _check_array("gain", noise.gain, (neurons,))
    _check_array("bias", noise.bias, (neurons,))
    if not 1.0 / LARGEST_VARIANCE <= noise.variance <= LARGEST_VARIANCE:
        raise ValueError(f"variance must be in [1e-30, 1e30], got {noise.variance}")
    if not 0.0 <= noise.additive <= LARGEST_VARIANCE:
        raise ValueError(f"additive must be in [0, 1e30], got {noise.additive}")
    if not 0 <= noise.layer < 2**16:
        raise ValueError(f"layer must be in [0, 2^16), got {noise.layer}")


def _check_array(name: str, values: NDArray[Any], shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite")
