"""Exact laws, computed the slow and obvious way, to hold the library against."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor

import nsm
from nsm.nn import StochasticLayer
from nsm.noise import NoiseLaw


def two_moment(layer: StochasticLayer, fields: Tensor) -> Tensor:
    """(1 + erf(E/sqrt(2 Var)))/2 for receptive fields (C, F): one for each neuron; float64, from the
    definition."""
    w, z = synapses(layer, fields)
    mean = ((layer.noise.mean + layer.a.detach().double()) * (w * z).sum(1)) + bias_of(layer)
    variance = layer.noise.variance * (w.square() * z.square()).sum(1) + layer.eta**2
    return 0.5 * torch.special.erfc(-mean / (2.0 * variance).sqrt())


def physical(layer: StochasticLayer, fields: Tensor) -> Tensor:
    """P(u >= 0) under the law of every single synapse: closed form for Gaussian noise, enumeration otherwise
    (small F)."""
    if isinstance(layer.noise, nsm.Gaussian):
        return two_moment(layer, fields)
    values, weights = atoms(layer.noise)
    (w, z), a, b = synapses(layer, fields), layer.a.detach().double(), bias_of(layer)
    result = []
    for neuron in range(len(w)):
        product = (w[neuron] * z[neuron]).numpy()
        steps, half = values + float(a[neuron]), len(product) // 2
        if layer.eta:
            u, p = sums(steps, weights, product)
            fires = [0.5 * math.erfc(-value / (math.sqrt(2.0) * layer.eta)) for value in u + float(b[neuron])]
            result.append(float(p @ fires))
            continue
        # One half of the synapses given, the other must make up for what is missing.
        (given, p), (other, q) = (sums(steps, weights, part) for part in (product[:half], product[half:]))
        order = np.argsort(other)
        reached = np.append(np.cumsum(q[order][::-1])[::-1], 0.0)
        # Ties are decided by sgn(0) = +1; float64 rounding must not break one.
        missing = -float(b[neuron]) - given - 1e-12
        result.append(float(p @ reached[np.searchsorted(other[order], missing)]))
    return torch.tensor(result, dtype=torch.float64)


def sums(values: np.ndarray, weights: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every sum of draws of a discrete law, each draw times its factor, and its probability."""
    u, p = np.zeros(1), np.ones(1)
    for factor in factors:
        u, p = (u[:, None] + values * factor).ravel(), (p[:, None] * weights).ravel()
    return u, p


def synapses(layer: StochasticLayer, fields: Tensor) -> tuple[Tensor, Tensor]:
    """Weight and presynaptic value of every synapse, (C, F K) each: an average over K > 1 signs (never 0
    here, which stands for padding) has K synapses of a K-th of the weight."""
    w, z, count = layer.weight.detach().flatten(1).double(), fields.double(), layer.pooled
    if count == 1:
        return w, z
    positive = ((z + 1.0) / 2.0 * count).round()
    parts = [torch.where(positive > k, 1.0, -1.0).double() * (z != 0) for k in range(count)]
    return w.repeat(1, count) / count, torch.cat(parts, 1)


def atoms(noise: NoiseLaw) -> tuple[np.ndarray, np.ndarray]:
    """Values and probabilities of a discrete law."""
    if isinstance(noise, nsm.Bernoulli):
        return np.array([0.0, 1.0]), np.array([1.0 - noise.p, noise.p])
    assert isinstance(noise, nsm.Measured)
    groups = [(value, len(list(same))) for value, same in itertools.groupby(noise.samples)]
    values, counts = zip(*groups, strict=True)
    return np.array(values), np.array(counts) / len(noise.samples)


def bias_of(layer: StochasticLayer) -> Tensor:
    """b in float64, zeros where the layer has none."""
    if layer.bias is None:
        return torch.zeros(len(layer.weight), dtype=torch.float64)
    return layer.bias.detach().double()
