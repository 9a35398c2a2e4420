"""Sums over synapses with a noisy factor drawn for each: the obvious form of fidelity ``"synapse"``.

The kernel in :mod:`nsm.native` gives the same sums, bit for bit, and is tested against this.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nsm import random
from nsm.noise import Bernoulli, NoiseLaw

GROUP = 64  # synapses of a neuron that are drawn together


def padded(synapses: int) -> int:
    """``synapses``, filled up to whole groups."""
    return -(-synapses // GROUP) * GROUP


def pad(x: Tensor) -> Tensor:
    """float32 (..., F) with zeros up to a whole number of groups of synapses."""
    missing = padded(x.shape[-1]) - x.shape[-1]
    return torch.nn.functional.pad(x.float(), (0, missing)) if missing else x.float()


def noisy_sums(
    fields: Tensor, weight: Tensor, law: NoiseLaw, seed: Tensor, rows: Tensor, where: int
) -> Tensor:
    """sum_j xi_ij w_ij z_j with a factor xi_ij of its own for every synapse, position and row.

    A neuron's synapses take whole groups of 64 elements of the row's stream: synapse j of neuron c at
    position p is element (p C + c) F' + j, where F' is F filled up to whole groups. The word that its law
    turns into xi comes from :func:`nsm.random.planes` if that law is Bernoulli, which mostly looks at a few
    of its bits, else from :func:`nsm.random.words`.

    The order of the sum is fixed: 64 partial sums, of the synapses j with the same j mod 64, in the order of
    j; then the upper half of them is added to the lower one until one is left.

    Args:
        fields: (N, P, G, F), receptive fields of each group of neurons.
        weight: (C, F); neuron c belongs to group c // (C / G).
        law: the law of xi.
        seed: int64 scalar.
        rows: int64 (R, 2), R = k N: row r is drawn from ``fields[r // k]``.
        where: the place of the draw, see :func:`nsm.random.place`.

    Returns:
        (R, P, C), float32.
    """
    count, positions, groups, _ = fields.shape
    z, w = pad(fields), pad(weight)
    shape = (len(rows), positions, len(w), w.shape[1])
    elements = math.prod(shape[1:])
    draw = random.planes if isinstance(law, Bernoulli) else random.words
    xi = law.from_words(draw(seed, rows, elements, where)).view(shape)
    products = w * z.repeat_interleave(len(w) // groups, dim=2)
    terms = xi * products.repeat_interleave(len(rows) // count, dim=0)
    sums = terms[..., :GROUP]
    for first in range(GROUP, terms.shape[-1], GROUP):
        sums = sums + terms[..., first : first + GROUP]
    while sums.shape[-1] > 1:
        lower, upper = sums.chunk(2, dim=-1)
        sums = lower + upper
    return sums.squeeze(-1)
