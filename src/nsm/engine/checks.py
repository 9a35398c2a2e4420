"""Whether steps make a program: order, shapes, sizes and values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsm.engine.steps import (
    LARGEST_IMAGE,
    LARGEST_POOLED_POPULATION,
    LARGEST_WINDOW,
    PANEL,
    Classifier,
    First,
    Noise,
    Pool,
    Real,
    Sampled,
    Shape,
    Step,
    area_behind,
    areas,
    draws_synapses,
    is_residual,
    largest_square,
    shapes,
)

LARGEST_POOLED = 2**15
LARGEST_SUM = 2**31 - 1
LARGEST_VARIANCE = 1e30
# Two products of a code or a square fit 16 bits, which the kernels for AVX2 count on.
LARGEST_CODE = 128
LARGEST_POPULATION = LARGEST_CODE // 2
LARGEST_DRAWN = 2**30  # four blocks of the generator for each
LARGEST_SQUARE = 127


def check(steps: Sequence[Step]) -> None:
    """Refuse steps that do not make a program: order, shapes, sizes, values.

    Raises:
        ValueError: naming the step and what is wrong with it.
    """
    entry = next((n for n, step in enumerate(steps) if isinstance(step, First)), None)
    if entry is None or not isinstance(steps[-1], Classifier):
        raise ValueError(
            "a program must begin with a stochastic layer, real ones and maxima in front of it or none, "
            "and end in a linear classifier"
        )
    before: Shape | None = None
    after = [*steps[1:], None]
    for number, (step, area, reader) in enumerate(zip(steps, areas(steps), after, strict=True)):
        try:
            _check_place(step, before, number - entry, last=number == len(steps) - 1)
            _check_step(step, area)
            _check_population(step, area, reader)
        except ValueError as error:
            raise ValueError(f"step {number}: {error}") from error
        before = shapes(step)[1]
    _check_space(steps)


def _check_space(steps: Sequence[Step]) -> None:
    """Refuse what would take gigabytes to run, however few its weights."""
    together = sum(
        math.prod(step.inputs) if isinstance(step, Pool) else step.geometry.received for step in steps
    )
    if together > LARGEST_IMAGE:
        raise ValueError(f"all steps together must receive at most {LARGEST_IMAGE} values, got {together}")
    for step in steps:
        if isinstance(step, First) and (many := step.geometry.in_panels * step.population) > LARGEST_IMAGE:
            raise ValueError(
                f"a first layer must have at most {LARGEST_IMAGE} neurons, in panels of {PANEL}, got {many}"
            )
    thresholds = sum(_thresholds(step) for step in steps if isinstance(step, Sampled))
    if thresholds > LARGEST_IMAGE:
        raise ValueError(
            f"all sampled layers together must have at most {LARGEST_IMAGE} thresholds, in panels of {PANEL} "
            f"and for each overlap of a field with the padding, got {thresholds}"
        )


def _thresholds(step: Sampled) -> int:
    """Numbers that a layer adds to its sums: of each neuron of a population, in whole panels, and again for
    each kind of position where the padding changes the variance.
    """
    geometry = step.geometry
    _, height, width = geometry.outputs
    one_kind = not step.pooled or draws_synapses(step)
    kinds = 1 if one_kind else math.prod(geometry.overlaps)
    return geometry.in_panels // (height * width) * kinds * step.population


def _check_place(step: Step, before: Shape | None, place: int, *, last: bool) -> None:
    """Refuse a step that cannot stand so many places behind the first stochastic layer."""
    maximum = isinstance(step, Pool) and not step.average
    sound = (
        not isinstance(step, Real | First) if place > 0 else place == 0 or isinstance(step, Real) or maximum
    )
    if not sound or isinstance(step, Classifier) != last:
        raise ValueError(f"a {type(step).__name__} step cannot stand here")
    if isinstance(step, Real | First) and step.binarize and before is not None:
        raise ValueError("binarize belongs to the first step")
    if isinstance(step, First | Sampled) and min(step.window) < 1:
        raise ValueError(f"a window must have neurons, got {step.window}")
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
    if isinstance(step, Classifier) and step.geometry.outputs[1:] != (1, 1):
        raise ValueError(f"the classifier must have one position, got {step.geometry.outputs}")
    if isinstance(step, Classifier | Real):
        _check_array("bias", step.bias, (neurons,))
    else:
        _check_noise(step.noise, neurons)
        _check_synapses(step, area)
    if isinstance(step, Real | First):
        return
    if step.weights.size and int(step.weights.min()) < -127:
        raise ValueError("weights must be in [-127, 127], got -128")
    _check_array("scale", step.scale, (neurons,))
    if not (step.scale > 0).all():
        raise ValueError(f"scale must be positive, got {step.scale.min()}")
    if step.geometry.fan_in * 2 * area * 127 > LARGEST_SUM:
        raise ValueError(f"sums must stay below 2^31, got a fan-in of {step.geometry.fan_in}")
    if isinstance(step, Classifier):
        logits = step.scale.astype(np.float64) * (step.geometry.fan_in * 2 * area * 127) + np.abs(step.bias)
        if not (logits <= np.finfo(np.float32).max).all():
            raise ValueError(f"logits must be finite in float32, got scales up to {step.scale.max():g}")
    if isinstance(step, Sampled):
        _check_variance(step, area)
        _check_residual(step)


def _check_variance(step: Sampled, area: int) -> None:
    if not 0 <= step.pooled <= LARGEST_POOLED:
        raise ValueError(f"pooled must be in [0, {LARGEST_POOLED}], got {step.pooled}")
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


def _check_residual(step: Sampled) -> None:
    if not step.residual:
        return
    if step.geometry.outputs != step.geometry.inputs:
        raise ValueError(
            f"a residual layer must make {step.geometry.inputs} of it, makes {step.geometry.outputs}"
        )


def _check_population(step: Step, area: int, reader: Step | None) -> None:
    if not isinstance(step, First | Sampled):
        return
    if step.population < 1:
        raise ValueError("a population must have neurons, got 0")
    if 2 * (after := area_behind(step, area)) > LARGEST_CODE:
        raise ValueError(f"averages must be over at most {LARGEST_CODE // 2} neurons, got {after}")
    if step.window != (1, 1):
        _check_window(step)
    if step.population == 1:
        return
    if draws_synapses(step):
        raise ValueError("neurons of a population share what they hear: no synapse of theirs can be drawn")
    if isinstance(reader, Sampled) and not (is_residual(step) or reader.pooled or draws_synapses(reader)):
        raise ValueError("what hears a population must have a synapse for each of its neurons: pooled is 0")


def _check_window(step: First | Sampled) -> None:
    _, height, width = step.geometry.outputs
    down, across = step.window
    if not (1 <= down <= height and 1 <= across <= width and down * across <= LARGEST_WINDOW):
        raise ValueError(
            f"a window must have 1 to {LARGEST_WINDOW} neurons of {(height, width)}, got {step.window}"
        )
    if is_residual(step) or draws_synapses(step):
        raise ValueError(
            "neurons of a window must be single ones that are drawn at once, and not added to anything"
        )
    if step.population > LARGEST_POOLED_POPULATION:
        raise ValueError(
            f"at most {LARGEST_POOLED_POPULATION} neurons of a place can be pooled, got {step.population}"
        )


def _check_noise(noise: Noise, neurons: int) -> None:
    _check_array("gain", noise.gain, (neurons,))
    _check_array("bias", noise.bias, (neurons,) if noise.bias.ndim < 2 else (len(noise.bias), neurons))
    if not 1.0 / LARGEST_VARIANCE <= noise.variance <= LARGEST_VARIANCE:
        raise ValueError(f"variance must be in [1e-30, 1e30], got {noise.variance}")
    if not 0.0 <= noise.additive <= LARGEST_VARIANCE:
        raise ValueError(f"additive must be in [0, 1e30], got {noise.additive}")
    if not 0 <= noise.layer < 2**16:
        raise ValueError(f"layer must be in [0, 2^16), got {noise.layer}")


def _check_synapses(step: First | Sampled, area: int) -> None:
    """Refuse a layer whose synapses are to be drawn and cannot be."""
    noise, geometry = step.noise, step.geometry
    if noise.transmission == 0.0:
        return
    if not 0 < noise.limit < 2**16:
        raise ValueError(f"a synapse must transmit with p in [2^-16, 1 - 2^-16], got {noise.transmission}")
    if noise.additive:
        raise ValueError(f"additive must be 0 where every synapse is drawn, got {noise.additive}")
    if isinstance(step, Sampled) and step.pooled != (area == 1):
        raise ValueError("synapses on single signs of an average cannot be drawn: pooled must be 0")
    drawn = geometry.in_panels // PANEL * geometry.fan_in
    if drawn > LARGEST_DRAWN:
        raise ValueError(f"at most {LARGEST_DRAWN} groups of 32 synapses can be drawn, got {drawn}")


def _check_array(name: str, values: NDArray[Any], shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite")
