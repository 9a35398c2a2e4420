import math

import pytest
import scipy.optimize
import torch

from nsm import measures
from nsm.inference import fit_temperature, tempered


def drawn(truth: float, n: int = 4000):
    """Predictions whose true classes follow them at temperature ``truth``."""
    generator = torch.Generator().manual_seed(0)
    logits = 3.0 * torch.randn(n, 5, generator=generator, dtype=torch.float64)
    targets = (logits / truth).softmax(1).multinomial(1, generator=generator)[:, 0]
    return logits.softmax(1), targets


def nll(probs, targets):
    measure = measures.CategoricalNLL()
    measure.update(probs, targets)
    return float(measure.compute())


@pytest.mark.parametrize("truth", [0.5, 1.0, 2.5])
def test_the_best_temperature_is_found(truth):
    probs, targets = drawn(truth)
    found = fit_temperature(probs, targets)
    assert found == pytest.approx(truth, rel=0.1)
    best = scipy.optimize.minimize_scalar(
        lambda log: nll(tempered(probs, math.exp(log)), targets), bounds=(-2, 2), method="bounded"
    )
    assert found == pytest.approx(math.exp(best.x), rel=1e-3)
    assert fit_temperature(probs.requires_grad_(), targets) == found


def test_the_decision_stays():
    probs, _ = drawn(1.0)
    assert torch.equal(tempered(probs, 3.0).argmax(1), probs.argmax(1))
    torch.testing.assert_close(tempered(probs, 1.0), probs)
    torch.testing.assert_close(tempered(probs, 2.0).sum(1), torch.ones(len(probs), dtype=torch.float64))


def test_perfect_predictions_ask_for_the_coldest():
    probs = torch.tensor([[0.6, 0.4], [0.3, 0.7]])
    assert fit_temperature(probs, torch.tensor([0, 1])) == pytest.approx(math.exp(-4))


@pytest.mark.parametrize("temperature", [1e-310, 5e-324])
def test_the_smallest_temperatures_leave_the_decision_alone(temperature):
    probs = torch.tensor([[0.1, 0.6, 0.3], [0.4, 0.4, 0.2]])
    expected = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    assert torch.equal(tempered(probs, temperature), expected)


def test_uniform_predictions_have_nothing_to_fit():
    assert fit_temperature(torch.full((6, 3), 1 / 3), torch.tensor([0, 1, 2, 0, 0, 0])) == 1.0


def test_impossible_arguments_are_refused():
    probs, targets = drawn(1.0, 5)
    for temperature in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="temperature must be a finite number > 0"):
            tempered(probs, temperature)
    with pytest.raises(TypeError, match="temperature must be a number, got str"):
        tempered(probs, "2")
    with pytest.raises(ValueError, match="at least one prediction"):
        fit_temperature(probs[:0], targets[:0])
    with pytest.raises(ValueError, match="targets must have shape"):
        fit_temperature(probs, targets[:2])
