import math

import pytest

from nsm.training import TrainingConfig
from nsm.training.schedule import Rates, schedule


def rates(name, steps, total, **fields):
    chosen = schedule(TrainingConfig(schedule=name, **fields))
    return [chosen(step, total) for step in steps]


def test_constant():
    assert rates("constant", (0, 50, 99), 100) == [Rates(1.0, None)] * 3


def test_one_cycle_rises_for_three_tenths_and_falls_along_half_cosines():
    start, rising, top, falling, end = rates("one-cycle", (0, 150, 300, 650, 1000), 1001)
    assert start == pytest.approx((1 / 25, 0.95))
    assert rising == pytest.approx(((1 + 1 / 25) / 2, 0.90))
    assert top == pytest.approx((1.0, 0.85))
    assert falling == pytest.approx(((1 + 1 / 250_000) / 2, 0.90))
    assert end == pytest.approx((1 / 250_000, 0.95))


def test_step_halves_after_every_50_epochs():
    steps = (0, 499, 500, 999, 1000, 1199)
    assert [rate.lr_factor for rate in rates("step", steps, 1200, epochs=120)] == [1, 1, 0.5, 0.5, 0.25, 0.25]
    later = rates("step", steps, 1200, epochs=120, step_epochs=100)
    assert [rate.lr_factor for rate in later] == [1, 1, 1, 1, 0.5, 0.5]


def test_constant_linear_is_the_published_one():
    steps = (0, 99, 100, 200, 299)
    assert rates("constant-linear", steps, 300) == [
        pytest.approx(value) for value in ((1, 0.9), (1, 0.9), (1, 0.45), (0.5, 0.45), (0.005, 0.45))
    ]


def test_cosine_with_and_without_warmup():
    assert [rate.lr_factor for rate in rates("cosine", (0, 50, 75), 100)] == pytest.approx(
        [1.0, 0.5, 0.5 * (1 + math.cos(0.75 * math.pi))]
    )
    warm = [rate.lr_factor for rate in rates("cosine", (0, 4, 9, 10, 55), 100, warmup=0.1)]
    assert warm == pytest.approx([1 / 11, 5 / 11, 10 / 11, 1.0, 0.5])


@pytest.mark.parametrize("name", ["constant", "one-cycle", "step", "constant-linear", "cosine"])
@pytest.mark.parametrize("total", [1, 2, 3, 10])
def test_short_runs_have_positive_rates(name, total):
    for rate in rates(name, range(total), total):
        assert 0.0 < rate.lr_factor <= 1.0
        assert rate.beta1 is None or 0.0 <= rate.beta1 < 1.0
