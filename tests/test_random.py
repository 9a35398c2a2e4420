"""Counter-based streams: published vectors, the layout of a row, independence of coordinates."""

import numpy as np
import pytest
import scipy.stats
import torch

from nsm import random

# Random123's known-answer vectors for philox4x32-10 (file kat_vectors): counter, key, result.
KNOWN = [
    ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_philox_gives_its_published_vectors(counter: list[int], key: list[int], result: list[int]) -> None:
    assert random.philox4x32(torch.tensor(counter), torch.tensor(key)).tolist() == result


# What Random123's own ars4x32 gives at seven rounds for the counters and keys of its known answers.
ARS = [
    ([0, 0, 0, 0], [0, 0, 0, 0], [0xDACF61FF, 0xC45798F3, 0x113C7EEB, 0x101E27F3]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 4, [0xFBAAFF1F, 0xBB547EF9, 0x13D8CD78, 0x7AAA969B]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0, 0x082EFA98, 0xEC4E6C89],
        [0xD1DF87AF, 0xF67D43BA, 0x4F66AFDB, 0x393DCB2D],
    ),
]


@pytest.mark.parametrize(("counter", "key", "result"), ARS)
def test_ars_gives_what_random123_gives(counter: list[int], key: list[int], result: list[int]) -> None:
    assert random.ars4x32(torch.tensor(counter), torch.tensor(key)).tolist() == result
    together = random.ars4x32(torch.tensor([counter, [1, 2, 3, 4]]), torch.tensor(key))
    assert together[0].tolist() == result


def test_a_word_sits_where_the_layout_says() -> None:
    seed, sample, index = 0x1234_5678_9ABC, 7, 11
    where = random.place(layer=3, use=2, purpose=random.Purpose.UNIT)
    row = random.words(torch.tensor(seed), torch.tensor([[sample, index]]), 200, where)[0]
    for element in (0, 1, 15, 16, 63, 64, 130, 199):
        block = 16 * (element // 64) + element % 16
        counter = torch.tensor([block, index, sample, 3 << 16 | 2 << 4 | 2])
        key = torch.tensor([seed & 0xFFFFFFFF, seed >> 32])
        assert row[element] == random.philox4x32(counter, key)[element % 64 // 16]


def test_rows_do_not_depend_on_their_company() -> None:
    seed, rows = torch.tensor(5), torch.tensor([[0, 0], [0, 1], [1, 0], [2**32 - 1, 2**32 - 1]])
    together = random.words(seed, rows, 70, 0)
    for i in range(len(rows)):
        assert torch.equal(random.words(seed, rows[i : i + 1], 70, 0)[0], together[i])
    # A longer row continues a shorter one.
    assert torch.equal(random.words(seed, rows, 200, 0)[:, :70], together)


def test_planes_are_the_words_bits_turned() -> None:
    seed, rows, where = torch.tensor(5), torch.tensor([[3, 4], [3, 5]]), random.place(2)
    turned = random.planes(seed, rows, 5000, where)
    words = random.words(seed, rows, 3 * 2048, where).tolist()
    for row in range(2):
        for element in (0, 1, 31, 32, 63, 64, 2047, 2048, 4999):
            base, inside = 2048 * (element // 2048), element % 2048
            bits = (words[row][base + 64 * k + inside // 32] >> inside % 32 & 1 for k in range(32))
            assert turned[row, element] == sum(bit << 31 - k for k, bit in enumerate(bits))


def test_every_coordinate_matters() -> None:
    base = random.words(torch.tensor(1), torch.tensor([[2, 3]]), 64, random.place(4, 5, random.Purpose.FIRE))
    others = [
        random.words(torch.tensor(9), torch.tensor([[2, 3]]), 64, random.place(4, 5)),
        random.words(torch.tensor(1 + 2**40), torch.tensor([[2, 3]]), 64, random.place(4, 5)),
        random.words(torch.tensor(1), torch.tensor([[9, 3]]), 64, random.place(4, 5)),
        random.words(torch.tensor(1), torch.tensor([[2, 9]]), 64, random.place(4, 5)),
        random.words(torch.tensor(1), torch.tensor([[2, 3]]), 64, random.place(9, 5)),
        random.words(torch.tensor(1), torch.tensor([[2, 3]]), 64, random.place(4, 9)),
        random.words(torch.tensor(1), torch.tensor([[2, 3]]), 64, random.place(4, 5, random.Purpose.UNIT)),
    ]
    for other in others:
        assert (base == other).sum() == 0


@pytest.mark.parametrize(("layer", "use"), [(-1, 0), (2**16, 0), (0, -1), (0, 2**12)])
def test_places_outside_the_counter_are_refused(layer: int, use: int) -> None:
    with pytest.raises(ValueError, match="layer must be" if use == 0 else "use must be"):
        random.place(layer, use)


def test_permutations_are_permutations_and_differ() -> None:
    orders = [random.permutation(0, epoch, 1000) for epoch in range(3)]
    for order in orders:
        assert torch.equal(order.sort().values, torch.arange(1000))
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[2], random.permutation(0, 2, 1000))


def test_seeds_are_resolved() -> None:
    assert random.resolve_seed(7) == 7
    assert type(random.resolve_seed(np.int32(7))) is int
    first = random.resolve_seed(torch.Generator().manual_seed(3))
    assert first == random.resolve_seed(torch.Generator().manual_seed(3))
    assert 0 <= random.resolve_seed(None) <= random.MAX_SEED
    with pytest.raises(ValueError, match=r"seed must be in \[0, 2\^63\), got -1"):
        random.resolve_seed(-1)
    for wrong in (1.5, "3", True):
        with pytest.raises(TypeError, match="seed must be an int"):
            random.resolve_seed(wrong)  # type: ignore[arg-type]


def test_derived_seeds_are_pinned() -> None:
    # Changing the derivation would silently change every published run.
    assert random.derive(0, "order") == 6557714879691437969
    assert len({random.derive(seed, label) for seed in range(50) for label in ("a", "b", 1)}) == 150


def test_normal_numbers_are_their_rows_own() -> None:
    seed, rows = torch.tensor(5), torch.tensor([[0, 0], [0, 1], [1, 0], [2**32 - 1, 2**32 - 1]])
    together = random.normal(seed, rows, 70, 0)
    assert together.shape == (4, 70)
    assert together.dtype == torch.float32
    for i in range(len(rows)):
        assert torch.equal(random.normal(seed, rows[i : i + 1], 70, 0)[0], together[i])
    assert len({tuple(row) for row in together.tolist()}) == 4
    assert not torch.equal(random.normal(seed, rows, 70, random.place(layer=1)), together)
    assert not torch.equal(random.normal(torch.tensor(6), rows, 70, 0), together)


@pytest.mark.parametrize("count", [3, 50])
def test_normal_numbers_are_normal(count: int) -> None:
    rows = random.row_indices(torch.arange(2000), torch.arange(2000) // 7)
    drawn = random.normal(torch.tensor(0), rows, count, 0)
    assert scipy.stats.kstest(drawn.flatten().numpy(), "norm").pvalue > 1e-3
    # Neighbouring rows have nothing to do with each other.
    neighbours = (drawn[1:] * drawn[:-1]).mean()
    assert abs(neighbours) < 4 / (1999 * count) ** 0.5
