"""Populations: whether they share their sums, and the neurons that they are where they do not.

K neurons that hear the same become K neurons of the same weights, side by side. What hears their average
hears each of them through a synapse of a K-th of the weight: the same mean and variance, since every sign
behind an average has a synapse of its own (``pooled``).
"""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np

from nsm.engine.chain import CompileError
from nsm.engine.checks import LARGEST_POPULATION
from nsm.engine.steps import LARGEST_POOLED_POPULATION, LARGEST_WINDOW, Floats
from nsm.nn import Conv2d, StochasticLayer

Values = TypeVar("Values", bound=np.ndarray)


def can_share(layer: StochasticLayer, area: int, *, transmits: bool) -> bool:
    """Whether the neurons of each population can share their sums: whether no synapse is drawn, a code can
    count them, and those of a window are drawn as one where they are pooled.

    Args:
        layer: whose populations.
        area: neurons in the averages that theirs are added to; 0 for none.
        transmits: whether synapses of the network are drawn one by one.
    """
    window = math.prod(layer.max_pool) if isinstance(layer, Conv2d) else 1
    if window > LARGEST_WINDOW or (window > 1 and layer.population > LARGEST_POOLED_POPULATION):
        return False
    return not transmits and area + layer.population <= LARGEST_POPULATION


def synapses(weights: Floats, copies: int) -> Floats:
    """Weights (neurons, channels, height, width) of what hears places of ``copies`` neurons each: (neurons,
    channels x copies, height, width).
    """
    return weights if copies == 1 else np.repeat(weights / np.float32(copies), copies, axis=1)


def neurons(values: Values, population: int) -> Values:
    """What belongs to each neuron, (neurons, ...), where a place has ``population`` of them: (neurons x
    population, ...).
    """
    return np.repeat(values, population, axis=0)  # type: ignore[return-value]


def pooled(layer: StochasticLayer, copies: int) -> int:
    """Of how many signs an input is the average that a layer hears from one neuron of a population.

    Raises:
        CompileError: if the layer does not say that it hears averages over populations.
    """
    if copies == 1:
        return layer.pooled
    if not layer.binary_input or layer.pooled % copies:
        raise CompileError(
            f"it hears averages over populations of {copies}: its pooled must be a multiple of that, "
            f"got {layer.pooled}{'' if layer.binary_input else ' and binary_input=False'}"
        )
    return layer.pooled // copies
