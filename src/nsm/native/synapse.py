"""Sums over noisy synapses with every factor drawn: ``torch.ops.nsm.synapse``."""

from __future__ import annotations

import functools
import json
from typing import Any

import torch
from torch import Tensor

from nsm import noise, synapses
from nsm.native import jobs, paths
from nsm.native.checks import check_draw
from nsm.noise import Bernoulli, Gaussian, Measured, NoiseLaw

_PART = 2**22  # synapses that plain torch draws together: some hundred megabytes of 64-bit words


def synapse(fields: Tensor, weight: Tensor, law: NoiseLaw, seed: Tensor, rows: Tensor, place: int) -> Tensor:
    """sum_j xi_ij w_ij z_j with a factor xi_ij of its own for every synapse, position and row.

    Bit for bit :func:`nsm.synapses.noisy_sums`, for any number of threads; no factor is ever stored. Has no
    gradient: learning uses that of the firing probability.

    Args:
        fields: (N, P, G, F), receptive fields: N inputs, P positions, F presynaptic values of each of G
            groups.
        weight: (C, F), C a multiple of G: neuron c belongs to group c // (C / G).
        law: the law of xi.
        seed: int64 scalar in [0, 2^63).
        rows: int64 (R, 2), R = k N, see :func:`nsm.native.fire`.
        place: the place of the draw, see :func:`nsm.random.place`.

    Returns:
        (R, P, C), float32.

    Raises:
        ValueError: if shapes or places do not fit, or one row has 2^34 synapses or more.
        TypeError: if a dtype does not fit.
    """
    u: Tensor = torch.ops.nsm.synapse(fields, weight, _described(law), seed, rows, place)
    return u


@functools.lru_cache(maxsize=64)
def _described(law: NoiseLaw) -> str:
    return json.dumps(law.to_dict())


@functools.lru_cache(maxsize=64)
def _law(description: str) -> tuple[NoiseLaw, dict[str, Any]]:
    """The law, and how the kernel is told of it."""
    law = noise.from_dict(json.loads(description))
    told: dict[str, Any] = {"table": 0, "entries": 0, "limit": 0, "std": 0.0}
    if isinstance(law, Measured):
        told |= {"table": torch.tensor(law.samples, dtype=torch.float32), "entries": len(law.samples)}
    elif isinstance(law, Gaussian):
        told["std"] = law.std
    elif isinstance(law, Bernoulli):
        told["limit"] = law.limit
    return law, told


def _check_fields(fields: Tensor, weight: Tensor) -> None:
    if fields.dim() != 4 or weight.dim() != 2 or fields.shape[3] != weight.shape[1]:
        raise ValueError(
            "fields must have shape (N, P, G, F) and weight (C, F), "
            f"got {tuple(fields.shape)} and {tuple(weight.shape)}"
        )
    _, positions, groups, fan_in = fields.shape
    if groups < 1 or len(weight) % groups:
        raise ValueError(f"weight must have a multiple of the {groups} groups' neurons, got {len(weight)}")
    if positions * len(weight) * synapses.padded(fan_in) >= 2**34:
        raise ValueError(
            f"one row must have less than 2^34 synapses, got {positions} positions of {len(weight)} neurons "
            f"with {fan_in} each"
        )


@torch.library.custom_op("nsm::synapse", mutates_args=())
def _synapse(fields: Tensor, weight: Tensor, law: str, seed: Tensor, rows: Tensor, place: int) -> Tensor:
    _check_fields(fields, weight)
    check_draw(len(fields), seed, rows, place)
    count, positions, groups, fan_in = fields.shape
    u = torch.empty(len(rows), positions, len(weight), dtype=torch.float32, device=fields.device)
    if u.numel() == 0 or fan_in == 0:
        return u.zero_()
    draws, told = _law(law)
    plain = fields.device.type != "cpu" or paths.kernels() is None
    if plain or (isinstance(draws, Bernoulli) and not _has_finite_products(fields, weight)):
        return _synapse_by_parts(u, fields, weight, draws, seed, rows, place)
    jobs.run(
        "synapse",
        z=synapses.pad(fields).contiguous(),
        weight=synapses.pad(weight).contiguous(),
        u=u,
        rows=rows.contiguous(),
        inputs=count,
        positions=positions,
        groups=groups,
        channels=len(weight),
        synapses=synapses.padded(fan_in),
        samples=len(rows) // count,
        seed=int(seed),
        place=place,
        **told,
    )
    return u


def _has_finite_products(fields: Tensor, weight: Tensor) -> bool:
    """Whether no w z can be infinite or no number. Where a synapse does not transmit the kernel adds nothing,
    and would hide one that 0 does not silence.
    """
    return bool((fields.abs().amax().float() * weight.abs().amax().float()).isfinite())


def _synapse_by_parts(
    u: Tensor,
    fields: Tensor,
    weight: Tensor,
    law: NoiseLaw,
    seed: Tensor,
    rows: Tensor,
    place: int,
) -> Tensor:
    size = max(1, _PART // (u[0].numel() * synapses.padded(fields.shape[-1])))
    source = torch.arange(len(rows), device=u.device) // (len(rows) // len(fields))
    for first in range(0, len(rows), size):
        part = slice(first, first + size)
        u[part] = synapses.noisy_sums(fields[source[part]], weight, law, seed, rows[part], place)
    return u


@_synapse.register_fake
def _(fields: Tensor, weight: Tensor, _law: str, _seed: Tensor, rows: Tensor, _place: int) -> Tensor:
    return fields.new_empty(rows.shape[0], fields.shape[1], weight.shape[0], dtype=torch.float32)
