"""Counter-based random streams: the only file of the library that makes random numbers.

A draw is a pure function of (seed, layer, use, purpose, sample index, input index, element). Nothing is
carried from one draw to the next, so batch size, order of evaluation, threads and processes cannot change a
sample.

Generator: Philox4x32-10, and in compiled networks ARS4x32-7, rounds of the AES, which processors have
instructions for (both: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).

Layout of one block of four 32-bit words of Philox:

    key     = (seed mod 2^32, seed div 2^32)
    counter = (block, input index, sample index, layer << 16 | use << 4 | purpose)

Inside a row (one sample of one input) element ``e`` is found in groups of 64: block ``16 (e div 64) + e mod
16``, word ``(e mod 64) div 16``. A vector unit that computes 16 blocks side by side then writes 64
consecutive elements without a shuffle.
"""

from __future__ import annotations

import functools
import hashlib
from enum import IntEnum

import numpy as np
import torch
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_ARS_ROUNDS = 7
_ARS_WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)  # added to the halves of the key after each round
_GROUP, _LANES = 64, 16

MAX_SEED = 2**63 - 1
MAX_INDEX = 2**32 - 1
MAX_LAYER = 2**16 - 1
MAX_USE = 2**12 - 1
NEXT_USE = 1 << 4  # from the place of a draw to that of the layer's next use


class Purpose(IntEnum):
    """What the numbers drawn at one place are for; two purposes never share a number."""

    FIRE = 0
    SYNAPSE = 1
    UNIT = 2
    ADDITIVE = 3
    LAW = 4
    PERMUTATION = 5
    AUGMENTATION = 6
    ACTIVATION = 7
    PROGRAM = 8


def philox4x32(counter: Tensor, key: Tensor) -> Tensor:
    """Philox4x32-10, elementwise over leading dimensions.

    Args:
        counter: int64, shape (..., 4), 32-bit words.
        key: int64, shape (..., 2), 32-bit words, broadcast against ``counter``.

    Returns:
        int64, shape (..., 4): four words in [0, 2^32).
    """
    c0, c1, c2, c3 = counter.unbind(-1)
    k0, k1 = key.unbind(-1)
    for _ in range(_ROUNDS):
        # The 64-bit product wraps into the sign bit; the mask after the shift undoes the sign extension.
        p0, p1 = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            ((p1 >> 32) & _MASK) ^ c1 ^ k0,
            p1 & _MASK,
            ((p0 >> 32) & _MASK) ^ c3 ^ k1,
            p0 & _MASK,
        )
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return torch.stack((c0, c1, c2, c3), dim=-1)


def ars4x32(counter: Tensor, key: Tensor) -> Tensor:
    """ARS4x32-7, elementwise over leading dimensions: rounds of the AES (FIPS 197) whose keys are a Weyl
    sequence.

    Args:
        counter: int64, shape (..., 4), 32-bit words, the lowest first.
        key: int64, shape (4,), 32-bit words.

    Returns:
        int64, shape (..., 4): four words in [0, 2^32).
    """
    mixed, substituted = _aes_tables()
    words = [int(word) for word in key]
    halves = [words[0] | words[1] << 32, words[2] | words[3] << 32]
    state = _signed((counter ^ key).reshape(-1, 4).T)  # columns of the cipher's state first
    for step in range(1, _ARS_ROUNDS + 1):
        tables = substituted if step == _ARS_ROUNDS else mixed
        halves = [(half + weyl) % 2**64 for half, weyl in zip(halves, _ARS_WEYL, strict=True)]
        round_key = torch.tensor([half >> shift & _MASK for half in halves for shift in (0, 32)])
        total = _signed(round_key)[:, None]
        for row, table in enumerate(tables):
            byte = state >> 8 * row & 0xFF
            total = total ^ table.index_select(0, byte.flatten()).view_as(byte).roll(-row, 0)
        state = total
    return (state.T.long() & _MASK).view(counter.shape)


def _signed(words: Tensor) -> Tensor:
    """The same 32 bits as int32: half the memory to move."""
    return torch.where(words > _MASK >> 1, words - 2**32, words).int()


@functools.cache
def _aes_tables() -> tuple[Tensor, Tensor]:
    """What each byte adds to its column, by its row: the column (2 S, S, S, 3 S) turned as far, the lowest
    byte first, and S, its substitute, in that row; both int32 (4, 256).
    """

    def doubled(byte: int) -> int:
        return byte << 1 ^ (0x11B if byte & 0x80 else 0)

    substitutes = [0x63] * 256
    # 3 generates the field; 0xF6 is its inverse.
    power = inverse = 1
    for _ in range(255):
        turned = inverse | inverse << 8
        substitutes[power] = 0x63 ^ (turned ^ turned >> 4 ^ turned >> 5 ^ turned >> 6 ^ turned >> 7) & 0xFF
        power ^= doubled(power)
        for shift in (1, 2, 4):
            inverse ^= inverse << shift & 0xFF
        inverse ^= 0x09 if inverse & 0x80 else 0
    columns = [doubled(s) | s << 8 | s << 16 | (doubled(s) ^ s) << 24 for s in substitutes]
    rows = 8 * torch.arange(4)[:, None]
    mixed = torch.tensor(columns) << rows
    return _signed((mixed & _MASK) ^ (mixed >> 32)), _signed(torch.tensor(substitutes) << rows)


def place(layer: int = 0, use: int = 0, purpose: Purpose = Purpose.FIRE) -> int:
    """The fourth counter word: which layer draws, at which of its uses in one pass, and for what.

    Raises:
        ValueError: if ``layer`` is not in [0, 2^16) or ``use`` not in [0, 2^12).
    """
    if not 0 <= layer <= MAX_LAYER:
        raise ValueError(f"layer must be in [0, {MAX_LAYER}], got {layer}")
    if not 0 <= use <= MAX_USE:
        raise ValueError(f"use must be in [0, {MAX_USE}], got {use}: one pass applies a layer too often")
    return layer << 16 | use * NEXT_USE | int(purpose)


def words(seed: Tensor, rows: Tensor, count: int, where: int) -> Tensor:
    """``count`` 32-bit words for every row.

    Args:
        seed: int64 scalar, in [0, 2^63).
        rows: int64, shape (R, 2): sample index and input index of each row, both in [0, 2^32).
        count: number of elements per row.
        where: a value of :func:`place`.

    Returns:
        int64, shape (R, count), values in [0, 2^32).
    """
    groups = -(-count // _GROUP)
    blocks = torch.arange(groups * _LANES, device=rows.device).expand(len(rows), -1)
    sample, index = rows[:, :1].expand_as(blocks), rows[:, 1:].expand_as(blocks)
    counter = torch.stack((blocks, index, sample, torch.full_like(blocks, where)), dim=-1)
    key = torch.stack((seed & _MASK, (seed >> 32) & _MASK)).to(rows.device)
    drawn = philox4x32(counter, key).view(len(rows), groups, _LANES, 4)
    return drawn.transpose(2, 3).reshape(len(rows), groups * _GROUP)[:, :count]


def halves(seed: Tensor, rows: Tensor, count: int, where: int) -> Tensor:
    """``count`` 16-bit numbers for every row, eight to a block of ARS: what a compiled network draws.

    A group of 32 elements takes four blocks. Element ``e``, number k = e mod 32 of its group, is half
    4 (k div 16) + k mod 4 (the lowest first) of the block with the key (seed mod 2^32, seed div 2^32, 0, 0)
    and the counter (4 (e div 32) + (k mod 16) div 4, input index, sample index, where): the order in which
    32-bit lanes of two vectors lie when they are packed to 16 bits.

    Args:
        seed: int64 scalar, in [0, 2^63).
        rows: int64, shape (R, 2): sample index and input index of each row, both in [0, 2^32).
        count: number of elements per row.
        where: a value of :func:`place`.

    Returns:
        int64, shape (R, count), values in [0, 2^16).
    """
    return grouped_halves(seed, rows, torch.arange(-(-count // 32)), where).flatten(1)[:, :count]


def grouped_halves(seed: Tensor, rows: Tensor, groups: Tensor, where: int) -> Tensor:
    """The elements of some groups of 32 of :func:`halves`, by number.

    Args:
        seed: int64 scalar, in [0, 2^63).
        rows: int64, shape (R, 2): sample index and input index of each row, both in [0, 2^32).
        groups: int64, shape (G,), in [0, 2^30).
        where: a value of :func:`place`.

    Returns:
        int64, shape (R, G, 32), values in [0, 2^16).
    """
    blocks = (4 * groups[:, None] + torch.arange(4)).flatten().expand(len(rows), -1)
    sample, index = rows[:, :1].expand_as(blocks), rows[:, 1:].expand_as(blocks)
    counter = torch.stack((blocks, index, sample, torch.full_like(blocks, where)), dim=-1)
    key = torch.stack((seed & _MASK, seed >> 32 & _MASK, torch.tensor(0), torch.tensor(0)))
    drawn = ars4x32(counter, key)
    halves = torch.stack((drawn & 0xFFFF, drawn >> 16), dim=-1)
    return halves.view(len(rows), len(groups), 4, 2, 4).transpose(2, 3).flatten(2)


def planes(seed: Tensor, rows: Tensor, count: int, where: int) -> Tensor:
    """``count`` 32-bit words for every row, bit by bit: where a few high bits settle most elements, the
    others need not be drawn.

    The bits of :func:`words`, turned in chunks of 2048 elements: bit 31 - k of element e is bit e mod 32 of
    word 64 (32 (e div 2048) + k) + (e mod 2048) div 32.

    Args:
        seed: int64 scalar, in [0, 2^63).
        rows: int64, shape (R, 2): sample index and input index of each row, both in [0, 2^32).
        count: number of elements per row.
        where: a value of :func:`place`.

    Returns:
        int64, shape (R, count), values in [0, 2^32).
    """
    chunks = -(-count // 2048)
    drawn = words(seed, rows, chunks * 2048, where).view(len(rows), chunks, 32, 64)
    bits = drawn[..., None] >> torch.arange(32, device=rows.device) & 1
    weights = 1 << torch.arange(31, -1, -1, device=rows.device)
    return (bits * weights[:, None, None]).sum(2).flatten(1)[:, :count]


def uniform(drawn: Tensor) -> Tensor:
    """Words to float64 in the open interval (0, 1), centred in their 2^-32 cells."""
    return (drawn.double() + 0.5) * 2.0**-32


def normal(seed: Tensor, rows: Tensor, count: int, where: int) -> Tensor:
    """``count`` standard normal numbers for every row: float32, shape (R, count), on the CPU.

    Each row comes from torch's own generator, seeded by the first word of the row's stream: ten times faster
    than :func:`words` where the numbers are many, but bound to torch's version.

    Args:
        seed: int64 scalar, in [0, 2^63).
        rows: int64, shape (R, 2), as for :func:`words`.
        count: number of elements per row.
        where: a value of :func:`place`.
    """
    generator = torch.Generator()
    drawn = torch.empty(len(rows), count, dtype=torch.float32)
    for row, word in zip(drawn, words(seed, rows, 1, where)[:, 0].tolist(), strict=True):
        row.normal_(generator=generator.manual_seed(word))
    return drawn


def resolve_seed(generator: int | np.integer | torch.Generator | None, name: str = "seed") -> int:
    """A seed from what users pass: an integer as it is, a generator by one draw, None by torch's default
    generator.

    Raises:
        ValueError: if an integer is outside [0, 2^63).
        TypeError: if it is neither an integer, a ``torch.Generator`` nor None.
    """
    if isinstance(generator, int | np.integer) and not isinstance(generator, bool):
        if not 0 <= generator <= MAX_SEED:
            raise ValueError(f"{name} must be in [0, 2^63), got {generator}")
        return int(generator)
    if generator is None or isinstance(generator, torch.Generator):
        device = "cpu" if generator is None else generator.device
        return int(torch.randint(MAX_SEED, (), generator=generator, device=device))
    raise TypeError(f"{name} must be an int, a torch.Generator or None, got {type(generator).__name__}")


def derive(seed: int, *labels: str | int) -> int:
    """A seed in [0, 2^63) for a named part of a run; parts with different labels are independent.

    >>> derive(0, "weights") == derive(0, "weights"), derive(0, "weights") == derive(0, "noise")
    (True, False)
    """
    digest = hashlib.sha256("/".join(map(str, (seed, *labels))).encode()).digest()
    return int.from_bytes(digest[:8], "little") & MAX_SEED


def row_indices(sample: int | Tensor, inputs: Tensor) -> Tensor:
    """Rows (R, 2) from sample indices (a number or (R,)) and input indices (R,)."""
    return torch.stack((torch.as_tensor(sample, device=inputs.device).expand_as(inputs), inputs), dim=-1)


def permutation(seed: int, epoch: int, n: int) -> Tensor:
    """The order in which epoch ``epoch`` visits ``n`` items: int64, shape (n,)."""
    rows = torch.tensor([[epoch, 0]])
    high, low = words(torch.tensor(seed), rows, 2 * n, place(purpose=Purpose.PERMUTATION)).view(2, n)
    return torch.argsort(high << 31 | low >> 1, stable=True)
