"""How many operations a program takes."""

from __future__ import annotations

import math
from typing import NamedTuple

from nsm.engine.program import Program
from nsm.engine.steps import First, Pool, Real, Sampled, areas, draws_synapses, shapes


class Operations(NamedTuple):
    """Counts by kind; units that padding adds are counted, lanes that the kernels leave idle are not.

    Attributes:
        first: multiplications and additions of real numbers up to the first stochastic layer, once for an
            input: one for every weight and position, in the stochastic layer one for the mean and one for
            the variance.
        additions: of a weight to a sum, once for a sample: synapses on neurons that are +1 or -1, twice where
            every synapse is drawn.
        multiplications: of a weight or its square with a small whole number, once for a sample: synapses on
            averages, twice where the variance depends on them or they are drawn; and of real numbers, in a
            first layer whose synapses are drawn.
        draws: uniform 16-bit numbers, each compared once, for a sample: one for every neuron, or for
            a window of neurons whose maximum is taken at once, or for every synapse.
        weights: whole numbers that are kept.
    """

    first: int
    additions: int
    multiplications: int
    draws: int
    weights: int


def count(program: Program) -> Operations:
    """The operations of a program.

    >>> import nsm
    >>> count(nsm.compile(nsm.models.build("digits-mlp")))
    Operations(first=32768, additions=34048, multiplications=0, draws=384, weights=34048)
    """
    first = additions = multiplications = draws = weights = 0
    for step, area in zip(program.steps, areas(program.steps), strict=True):
        if isinstance(step, Pool):
            continue
        channels, height, width = step.geometry.outputs
        neurons = channels * height * width
        synapses = neurons * step.geometry.fan_in
        if draws_synapses(step):
            draws += synapses
            if isinstance(step, First):
                multiplications += synapses
                continue
        elif isinstance(step, First | Sampled):
            draws += step.population * math.prod(shapes(step)[1])
        if isinstance(step, Real | First):
            first += synapses if isinstance(step, Real) else 2 * synapses
            continue
        weights += step.weights.size
        if area == 1:
            additions += synapses * (2 if draws_synapses(step) else 1)
        else:
            multiplications += synapses * (2 if isinstance(step, Sampled) and not step.pooled else 1)
    return Operations(first, additions, multiplications, draws, weights)
