"""What holds for a block of code in one thread: the fidelity in force and where draws come from.

Nothing here is kept in a network: two threads may run the same network with different seeds at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from nsm import random

Fidelity = Literal["moment", "synapse", "unit", "mean", "marginal", "threshold"]
FIDELITIES: tuple[Fidelity, ...] = get_args(Fidelity)
DRAWING: tuple[Fidelity, ...] = ("moment", "synapse", "unit")

_ambient = threading.local()


def check_fidelity(name: str) -> Fidelity:
    """``name`` itself.

    Raises:
        ValueError: if it is not one of the six fidelities.
    """
    for known in FIDELITIES:
        if name == known:
            return known
    raise ValueError(f"fidelity must be one of {', '.join(FIDELITIES)}, got {name!r}")


@contextmanager
def fidelity(name: Fidelity) -> Iterator[None]:
    """Run every stochastic layer called by this thread inside the block at one fidelity.

    ``"moment"`` draws z' from its firing probability (exact in law up to the central limit theorem),
    ``"synapse"`` draws every xi_ij for every input and use, ``"unit"`` one xi_j per presynaptic unit,
    ``"mean"`` passes E[z'] on, ``"marginal"`` what samples of z' average to where the inputs are themselves
    samples with the means that are received, and ``"threshold"`` passes sgn(E[u]) on. Blocks nest; the
    previous state is restored on exceptions too.

    Raises:
        ValueError: if ``name`` is unknown.

    >>> import nsm, torch
    >>> layer = nsm.nn.Linear(4, 2)
    >>> with nsm.fidelity("mean"):
    ...     same = torch.equal(layer(torch.ones(1, 4)), layer(torch.ones(1, 4)))
    >>> same
    True
    """
    previous = getattr(_ambient, "fidelity", None)
    _ambient.fidelity = check_fidelity(name)
    try:
        yield
    finally:
        _ambient.fidelity = previous


def active_fidelity(own: Fidelity) -> Fidelity:
    """The fidelity of the enclosing block, or the layer's own outside any block."""
    ambient: Fidelity | None = getattr(_ambient, "fidelity", None)
    return own if ambient is None else ambient


class Draw(NamedTuple):
    """The coordinates of one layer's draws in one pass."""

    seed: Tensor
    rows: Tensor
    layer: int
    use: int

    def samples(self, x: Tensor) -> int:
        """How many samples of each input of a batch (N, ...) the pass asks for."""
        return len(self.rows) // max(1, len(x))

    def place(self, purpose: random.Purpose = random.Purpose.FIRE) -> int:
        """The fourth counter word for numbers of this purpose."""
        return random.place(self.layer, self.use, purpose)


class _Pass:
    def __init__(self, seed: Tensor, rows: Tensor) -> None:
        self.seed, self.rows = seed, rows
        self.uses: dict[int, int] = {}


@contextmanager
def one_pass(seed: Tensor, rows: Tensor) -> Iterator[None]:
    """Layers called by this thread inside the block draw at these coordinates: seed, and (sample, input) of
    each row.
    """
    previous = getattr(_ambient, "draws", None)
    _ambient.draws = _Pass(seed, rows)
    try:
        yield
    finally:
        _ambient.draws = previous


def next_draw(layer: int, batch: int, device: torch.device, uses: int = 1) -> Draw:
    """Coordinates for the next use of layer number ``layer`` on ``batch`` rows, or the first of several.

    Outside :func:`draws` each call takes a fresh seed from torch's default generator.

    Raises:
        ValueError: if the pass covers a number of rows that is no multiple of ``batch``, or uses the layer
            too often.
    """
    current: _Pass | None = getattr(_ambient, "draws", None)
    if current is None:
        seed = torch.randint(random.MAX_SEED, (), dtype=torch.int64)
        return Draw(seed, random.row_indices(0, torch.arange(batch, device=device)), 0, 0)
    if len(current.rows) and (batch == 0 or len(current.rows) % batch):
        raise ValueError(
            f"inputs of nsm.nn.draws names {len(current.rows)} rows but a layer received a batch of {batch}; "
            "the number of rows must be a multiple of the batch"
        )
    use = current.uses.get(layer, 0)
    random.place(layer, use + uses - 1)  # or a later draw would be another layer's
    current.uses[layer] = use + uses
    return Draw(current.seed, current.rows.to(device), layer, use)
