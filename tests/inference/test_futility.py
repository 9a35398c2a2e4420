"""Giving up: what it costs and saves, by simulation of two classes of any ambiguity."""

import math

import numpy as np
import pytest
import scipy.stats
import torch

from nsm.inference.futility import CHANCE, futile
from nsm.inference.margins import Standing
from nsm.inference.settling import MarginNoise, settled
from tests.statistical.budget import LEVEL

NOISE, CONFIDENCE = MarginNoise(1.3, 7.0), 0.9
PATHS = 4000


def ends(means: np.ndarray, most: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For paths of margins of these means, in units of their noise: the sample after which a class is settled
    and the one after which the input is given up (``most`` + 1 where never), and whether class 0 led then.
    """
    generator = np.random.default_rng(seed)
    sigma = NOISE.scale * np.sqrt(NOISE.dof / generator.chisquare(NOISE.dof, len(means)))
    noisy = means[:, None] + generator.standard_normal((len(means), most))
    margins = torch.from_numpy(sigma[:, None] * noisy)
    total, squares = margins.cumsum(1), margins.square().cumsum(1)
    lead = (total < 0).long()
    both = torch.zeros(*total.shape, 2, dtype=torch.float64)
    standing = Standing(
        torch.arange(1, most + 1),
        lead,
        both.scatter(2, 1 - lead[..., None], total.abs()[..., None]),
        both.scatter(2, 1 - lead[..., None], squares[..., None]),
    )

    def first(found: torch.Tensor) -> torch.Tensor:
        return torch.where(found.any(1), found.int().argmax(1) + 1, most + 1)

    sure = first(settled(standing, CONFIDENCE, NOISE))
    leads = (lead == 0).gather(1, (sure - 1).clamp(max=most - 1)[:, None])[:, 0]
    return sure.numpy(), first(futile(standing, most, CONFIDENCE, NOISE)).numpy(), leads.numpy()


@pytest.mark.parametrize("most", [30, 400])
def test_few_that_would_be_settled_are_given_up(most: int) -> None:
    # Any mean is as likely as any other, as far as it matters.
    means = np.random.default_rng(1).uniform(-2.0, 2.0, PATHS)
    sure, given_up, _ = ends(means, most, 2)
    lost = (given_up < sure) & (sure <= most)
    total = int((given_up < sure).sum())
    assert total > 100
    assert scipy.stats.binom.sf(int(lost.sum()) - 1, total, CHANCE) > LEVEL


def test_those_that_are_settled_at_all_lose_next_to_none() -> None:
    sure, given_up, _ = ends(np.full(PATHS, 0.4), 400, 3)
    assert (sure <= 400).mean() > 0.99
    assert ((given_up < sure) & (sure <= 400)).mean() < 0.001


def test_ties_take_half_of_the_samples() -> None:
    _, given_up, _ = ends(np.zeros(PATHS), 400, 4)
    assert (given_up <= 400).mean() > 0.9
    assert np.minimum(given_up, 400).mean() < 220


def test_the_promise_is_kept_with_giving_up() -> None:
    sure, given_up, leads = ends(np.full(PATHS, 1e-9), 400, 5)
    wrong = (sure < given_up) & (sure <= 400) & ~leads
    assert scipy.stats.binom.sf(int(wrong.sum()) - 1, PATHS, 1.0 - CONFIDENCE) > LEVEL
    assert wrong.sum() > 0


def standing(samples: int, margins: list[float]) -> Standing:
    values = torch.tensor([[margins]], dtype=torch.float64)
    return Standing(
        torch.tensor([samples]), torch.zeros(1, 1, dtype=torch.int64), values, samples + values**2
    )


def test_nothing_is_given_up_early_or_after_the_last_sample() -> None:
    tied = [0.0, 0.0, 50.0]
    assert not futile(standing(100, tied), 1000, CONFIDENCE, NOISE).any()
    assert futile(standing(900, tied), 1000, CONFIDENCE, NOISE).all()
    assert not futile(standing(1000, tied), 1000, CONFIDENCE, NOISE).any()
    assert not futile(standing(900, [0.0, math.nan, 1.0]), 1000, CONFIDENCE, NOISE).any()


def test_one_class_is_never_given_up() -> None:
    assert not futile(standing(3, [0.0]), 10, CONFIDENCE, NOISE).any()
