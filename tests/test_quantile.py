"""The normal quantile beside scipy's, and its bits."""

import pytest
import scipy.special
import scipy.stats
import torch

from nsm import quantile


def exact(words: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(scipy.special.ndtri(((words.double() + 0.5) * 2.0**-32).numpy()))


@pytest.mark.parametrize("first", [0, 2**12, 2**24, 2**31 - 5000, 2**31, 2**32 - 10_000])
def test_values_are_exact_to_a_few_millionths(first: int) -> None:
    words = torch.arange(first, first + 10_000).clamp(max=2**32 - 1)
    torch.testing.assert_close(quantile.normal(words).double(), exact(words), atol=2e-6, rtol=0)


def test_values_are_exact_at_every_scale() -> None:
    # All powers of two, and the joint of the two polynomials from both sides.
    words = torch.tensor([2**k + d for k in range(1, 32) for d in (-1, 0, 1)])
    joint = int(2**32 * float(scipy.special.ndtr(-3.0)))
    words = torch.cat((words, torch.arange(joint - 2**22, joint + 2**22, 997)))
    torch.testing.assert_close(quantile.normal(words).double(), exact(words), atol=2e-6, rtol=0)
    assert torch.equal(quantile.normal(2**32 - 1 - words), -quantile.normal(words))


def test_moments_are_those_of_the_normal_law() -> None:
    drawn = quantile.normal(torch.arange(2**11, 2**32, 2**12)).double()
    assert drawn.mean().abs() < 1e-8
    assert (drawn.square().mean() - 1.0).abs() < 1e-5
    assert (drawn.pow(4).mean() - 3.0).abs() < 2e-3


def test_values_are_pinned() -> None:
    words = torch.tensor([0, 1, 2**20, 2**30, 2**31 - 1, 2**31, 3 * 2**30, 2**32 - 1])
    assert quantile.normal(words).view(torch.int32).tolist() == PINNED


PINNED = [
    -1060450165, -1060809882, -1067504455, -1087591586, -2147483648, 0, 1059892062, 1087033483
]  # fmt: skip
