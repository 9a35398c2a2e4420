"""What a compiled network consists of: steps from one image of activations to the next.

Activations are images (channels, height, width); a vector is an image of one pixel, and a fully connected
layer a convolution whose kernel is as large as its image. Hidden activations are *codes*, whole numbers in
[0, 2 A] that stand for z = (code - A) / A: a neuron has A = 1 and the codes 0 and 2, and the average of k
neurons is the sum of their codes, with A = k; so is what a residual layer makes, with A = k + 1. A population
of K neurons that hear the same makes such a sum, too: their product is made once, and each of them draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, int, int]
Pair = tuple[int, int]
Floats = NDArray[np.float32]
Weights = NDArray[np.int8]

PANEL = 32  # neurons of a group are numbered up to a multiple of it
LARGEST_SIDE = 2**15
LARGEST_IMAGE = 2**24  # activations of one layer, or of all together, margins included
LARGEST_WEIGHTS = 2**27  # of one layer
_LARGEST_PAIR = 2**15 - 1  # two products of squares, which the kernels for AVX2 add up in 16 bits
LARGEST_WINDOW = 6  # neurons that one number decides: errors of their probabilities add up
LARGEST_POOLED_POPULATION = 16  # neurons of a place that are each drawn as one with others of a window


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
    def received(self) -> int:
        """Units of the presynaptic image, margins included."""
        top, left, bottom, right = self.padding
        channels, height, width = self.inputs
        return channels * (top + height + bottom) * (left + width + right)

    @property
    def in_panels(self) -> int:
        """Neurons at all positions, where those of a group fill whole panels."""
        _, height, width = self.outputs
        return height * width * self.groups * -(-self.neurons // self.groups // PANEL) * PANEL

    @property
    def overlaps(self) -> Pair:
        """Rows and columns of positions that differ in what of a field lies in the padding, at most."""
        _, *sides = self.outputs
        down, across = (
            # All fields between the first and the last that lie within the image are alike.
            many - max(0, (before + side - dilation * (kernel - 1) - 1) // stride - -(-before // stride))
            for many, before, side, kernel, stride, dilation in zip(
                sides, self.padding[:2], self.inputs[1:], self.kernel, self.stride, self.dilation, strict=True
            )
        )
        return down, across

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
        for what, count, largest in (
            ("activations", max(self.received, math.prod(self.outputs)), LARGEST_IMAGE),
            ("weights", math.prod(self.weight_shape), LARGEST_WEIGHTS),
        ):
            if count > largest:
                raise ValueError(f"a layer must have at most {largest} {what}, got {count}")


@dataclass(frozen=True, eq=False)
class Noise:
    """What a stochastic layer adds to its product: u = gain (w z) + bias, with the variance below.

    Attributes:
        gain: mu + a_i, shape (neurons,).
        bias: b_i, shape (neurons,); of populations (K, neurons).
        variance: s^2 of the factors xi.
        additive: variance eta^2 of the additive noise.
        layer: number of the layer in the random streams.
        transmission: where every synapse is drawn by itself, p with which it transmits:
            u = sum_j (xi_j + gain - p) w_j z_j + bias, xi_j 1 or 0. 0 where the normal law with the two
            moments stands for all of them.
    """

    gain: Floats
    bias: Floats
    variance: float
    additive: float
    layer: int
    transmission: float = 0.0

    @property
    def biases(self) -> Floats:
        """b of every neuron of a population, shape (K, neurons); K is 1 where there are none."""
        return np.atleast_2d(self.bias)

    @property
    def limit(self) -> int:
        """A synapse transmits where its uniform 16-bit number lies below; 0 where none is drawn."""
        return round(self.transmission * 2**16)


@dataclass(frozen=True, eq=False)
class Real:
    """A deterministic layer on real inputs, in front of the first stochastic one: once for all samples.

    Attributes:
        geometry: its connections.
        weights: float32 of ``geometry.weight_shape``.
        bias: float32, shape (neurons,).
        rectified: whether negative outputs become 0.
        binarize: whether inputs become sgn(2 x - 1) first; of a program's first step alone.
    """

    geometry: Geometry
    weights: Floats
    bias: Floats
    rectified: bool = False
    binarize: bool = False


@dataclass(frozen=True, eq=False)
class First:
    """The first stochastic layer: real inputs and weights; its thresholds are shared by all samples.

    Attributes:
        geometry: its connections.
        weights: float32 of ``geometry.weight_shape``.
        noise: what is added.
        binarize: whether inputs become sgn(2 x - 1) first; of a program's first step alone.
        window: (height, width) of the neurons side by side that are drawn as one, their maximum; of
            populations, one neuron of each at a time.
    """

    geometry: Geometry
    weights: Floats
    noise: Noise
    binarize: bool
    window: Pair = (1, 1)

    @property
    def population(self) -> int:
        """K, the neurons in each place, whose codes are added up."""
        return len(self.noise.biases)


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
        residual: whether its codes are added to those that it receives: averages with as many neurons more.
        window: as of :class:`First`.
    """

    geometry: Geometry
    weights: Weights
    scale: Floats
    noise: Noise
    pooled: int = 1
    residual: bool = False
    window: Pair = (1, 1)

    @property
    def population(self) -> int:
        """K, the neurons in each place, whose codes are added up."""
        return len(self.noise.biases)


@dataclass(frozen=True)
class Pool:
    """The maximum or the average of windows of codes; in front of the first stochastic layer, the maximum of
    real numbers.

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


Step = Real | First | Sampled | Pool | Classifier


def shapes(step: Step) -> tuple[Shape, Shape]:
    """(channels, height, width) before and after a step."""
    if isinstance(step, Pool):
        return step.inputs, step.outputs
    channels, height, width = step.geometry.outputs
    down, across = step.window if isinstance(step, First | Sampled) else (1, 1)
    return step.geometry.inputs, (channels, height // down, width // across)


def areas(steps: Sequence[Step]) -> list[int]:
    """A of the codes that each step receives; 1 where it receives none."""
    found, area = [], 1
    for step in steps:
        found.append(area)
        area = area_behind(step, area)
    return found


def area_behind(step: Step, area: int) -> int:
    """A of the codes that a step makes of codes with ``area``."""
    if isinstance(step, Pool):
        return area * math.prod(step.kernel) if step.average else area
    own = step.population if isinstance(step, First | Sampled) else 1
    return area + own if is_residual(step) else own


def is_residual(step: Step) -> bool:
    """Whether what a step makes is added to what it receives."""
    return isinstance(step, Sampled) and step.residual


def draws_synapses(step: Step) -> bool:
    """Whether every synapse of a step is drawn by itself."""
    return isinstance(step, First | Sampled) and step.noise.transmission > 0


def is_drawn_as_one(step: First | Sampled, pool: Pool, *, by_neurons: bool) -> bool:
    """Whether one number decides each window of a pooling behind a step: a maximum over up to 6 neurons, in
    windows side by side, unless they are added to what they hear or every synapse is drawn.

    Given their inputs neurons are independent: P(max = 1) = 1 - prod_k (1 - P_k).

    Args:
        step: what is pooled.
        pool: how.
        by_neurons: whether populations are pooled one neuron of each at a time, and not their sums.
    """
    return (
        (by_neurons or step.population == 1)
        and not (pool.average or is_residual(step) or draws_synapses(step))
        and step.window == (1, 1)
        and pool.kernel == pool.stride
        and math.prod(pool.kernel) <= LARGEST_WINDOW
    )


def spacing(area: int) -> int:
    """The largest number that divides code - A for every code: codes are even."""
    return math.gcd(2, area)


def largest_square(area: int) -> int:
    """The largest ((code - A) / spacing)^2."""
    return (area // spacing(area)) ** 2


def largest_squared_weight(area: int) -> int:
    """The largest value of a squared weight, whose products with squared codes must fit 16 bits in pairs."""
    return min(255, _LARGEST_PAIR // (2 * largest_square(area)))
