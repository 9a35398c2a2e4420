"""What drawing costs on one core: our operators beside plain torch, and beside the machine's memory.

Rates are elements (or synapses) per second. An operator that reads and writes every element once cannot be
faster than memory: ``ceiling`` is that limit, by a copy measured in the same turn. An operator is called
several times in its turn: one call takes a few milliseconds, and in training its input is in cache, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from nsm import functional, native, random
from nsm.noise import Bernoulli, Gaussian, Measured, NoiseLaw
from nsm.studies import ceiling
from nsm.studies.timing import in_turn, row

STUDY = "speed-draw"
_SHAPE = (100, 576, 32)  # the first convolution of mnist-cnn, a batch of 100
_SYNAPSES = (32, 1024, 1024)  # inputs, neurons, presynaptic units
_CALLS = 8  # of an operator in a turn
LAWS: dict[str, NoiseLaw] = {
    "bernoulli-0.5": Bernoulli(0.5),
    "bernoulli-0.3": Bernoulli(0.3),
    "gaussian": Gaussian(0.7),
    "measured": Measured([0.61, 0.84, 0.97, 1.02, 1.10, 1.46]),
}


def rows(repeats: int = 7) -> list[dict[str, Any]]:
    """Firing samples in training, the same with their gradient, and sums over drawn synapses.

    Rivals in plain torch: ``sign(x + randn)`` for samples; the same with the gradient of the probability,
    a product with exp(-s^2), for both ways; one ``bernoulli_`` mask (or ``normal_``, or table entries) for
    every input and its product by ``einsum`` for synapses.

    Args:
        repeats: measurements of each side, >= 1.
    """
    measured = []
    for dtype in (torch.float32, torch.bfloat16):
        measured += [_fire_row(dtype, repeats), _training_row(dtype, repeats)]
    return measured + [_synapse_row(name, law, repeats) for name, law in LAWS.items()]


def _compared(
    name: str,
    rival: str,
    sides: Sequence[Callable[[], object]],
    count: int,
    repeats: int,
    *,
    size: int = 0,
) -> dict[str, Any]:
    """Rates of ours and the rival's; with the ceiling where each element moves ``size`` bytes."""
    copy, moved = ceiling.copy()
    ours, theirs, *copied = in_turn([*map(_several, sides), *([copy] if size else [])], repeats)
    count *= _CALLS
    compared = row(name, rival, (count / ours, count / theirs), unit="1/s")
    compared |= {"kernels": native.instruction_set(), "repeats": repeats}
    if size:
        bandwidth = moved / copied[0]
        compared |= {"memory_bytes_per_second": bandwidth, "ceiling": bandwidth / size}
    return compared


def _several(side: Callable[[], object]) -> Callable[[], object]:
    """A turn of an operator."""

    def call() -> None:
        for _ in range(_CALLS):
            side()

    return call


def _fired(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Callable[[Tensor, Tensor, Tensor], Tensor]]:
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(_SHAPE, generator=generator).to(dtype)
    scale, shift = (torch.rand(1, _SHAPE[2], generator=generator) for _ in range(2))
    index = random.row_indices(0, torch.arange(_SHAPE[0]))
    seed, place = torch.tensor(0), random.place()
    return u, scale, shift, lambda u, scale, shift: native.fire(u, scale, shift, seed, index, place)


def _title(dtype: torch.dtype) -> str:
    return "fp32" if dtype == torch.float32 else "bf16"


def _fire_row(dtype: torch.dtype, repeats: int) -> dict[str, Any]:
    u, scale, shift, fire = _fired(dtype)

    def rival() -> Tensor:
        return torch.sign(u + torch.randn_like(u))

    return _compared(
        f"fire-{_title(dtype)}",
        "sign(x + randn)",
        [lambda: fire(u, scale, shift), rival],
        u.numel(),
        repeats,
        size=2 * u.element_size(),
    )


class _NoisySign(torch.autograd.Function):
    """sign(s + noise) forward, the gradient of its mean erf(s) backward, in plain torch."""

    @staticmethod
    def forward(ctx: Any, s: Tensor) -> Tensor:
        ctx.save_for_backward(s)
        return torch.sign(s + torch.randn_like(s) * 0.5**0.5)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (s,) = ctx.saved_tensors
        return grads[0] * functional.derivative(s, "probability")


def _training_row(dtype: torch.dtype, repeats: int) -> dict[str, Any]:
    u, scale, shift, fire = _fired(dtype)
    leaves = [x.requires_grad_() for x in (u, scale, shift)]
    grad = torch.randn(_SHAPE, generator=torch.Generator().manual_seed(1)).to(dtype)

    def ours() -> object:
        return torch.autograd.grad(fire(u, scale, shift), leaves, grad)

    def rival() -> object:
        s = u * scale.to(dtype) + shift.to(dtype)
        z: Tensor = _NoisySign.apply(s)  # type: ignore[no-untyped-call]
        return torch.autograd.grad(z, leaves, grad)

    # Forward: u to z; backward: grad and u to the gradient.
    return _compared(
        f"fire-and-back-{_title(dtype)}",
        "sign(s + randn), product with exp(-s^2)",
        [ours, rival],
        u.numel(),
        repeats,
        size=5 * u.element_size(),
    )


def _synapse_row(name: str, law: NoiseLaw, repeats: int) -> dict[str, Any]:
    count, channels, fan_in = _SYNAPSES
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(count, fan_in, generator=generator).sign()
    weight = torch.randn(channels, fan_in, generator=generator)
    index = random.row_indices(0, torch.arange(count))
    place = random.place(purpose=random.Purpose.SYNAPSE)
    fields, seed, xi = z.view(count, 1, 1, fan_in), torch.tensor(0), torch.empty(_SYNAPSES)
    draw, title = _rival_draw(law, xi)

    def rival() -> Tensor:
        return torch.einsum("ncf,nf->nc", draw().mul_(weight), z)

    return _compared(
        f"synapse-{name}",
        f"{title} + einsum",
        [lambda: native.synapse(fields, weight, law, seed, index, place), rival],
        xi.numel(),
        repeats,
    )


def _rival_draw(law: NoiseLaw, xi: Tensor) -> tuple[Callable[[], Tensor], str]:
    """How torch fills ``xi`` with factors, and what that is called."""
    if isinstance(law, Bernoulli):
        return lambda: xi.bernoulli_(law.p), "bernoulli_"
    if isinstance(law, Gaussian):
        return lambda: xi.normal_(1.0, law.std), "normal_"
    assert isinstance(law, Measured)
    table = torch.tensor(law.samples)
    return lambda: table[torch.randint(len(table), xi.shape)], "table[randint]"
