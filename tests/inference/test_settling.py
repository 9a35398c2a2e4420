"""The sequential test: its factor against the densities it is made of, and its promise by simulation."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

import nsm
from nsm.inference import fit, futility
from nsm.inference.futility import futile
from nsm.inference.margins import Margins
from nsm.inference.settling import LOOKS, MarginNoise, critical_ratio, settled
from tests.statistical.budget import LEVEL

NOISE = MarginNoise(1.3, 7.0)
CONFIDENCE = 0.9


def scales(count: int, generator: np.random.Generator, noise: MarginNoise = NOISE) -> np.ndarray:
    return noise.scale * np.sqrt(noise.dof / generator.chisquare(noise.dof, count))


def ratio(margins: Tensor, noise: MarginNoise = NOISE) -> Tensor:
    return margins.sum() ** 2 / (noise.dof * noise.scale**2 + margins.square().sum())


def log_bayes_factor(n: int, found: float) -> float:
    """ln B, as the room says it is."""
    return -0.5 * math.log(1 + n) - 0.5 * (n + NOISE.dof) * math.log(1.0 - found / (1 + n))


@pytest.mark.parametrize("margins", [[2.0], [-0.3, 0.8], [9.0, 7.5, 8.0, 10.0], [0.0] * 6])
def test_the_factor_is_a_ratio_of_multivariate_t_densities(margins: list[float]) -> None:
    n = len(margins)
    null = NOISE.scale**2 * np.eye(n)
    other = null + NOISE.scale**2 * np.ones((n, n))

    def density(shape: np.ndarray) -> float:
        return float(scipy.stats.multivariate_t(np.zeros(n), shape, NOISE.dof).pdf(margins))

    expected = math.log(density(other) / density(null))
    got = log_bayes_factor(n, float(ratio(torch.tensor(margins, dtype=torch.float64))))
    assert got == pytest.approx(expected, abs=1e-9)


def ever_passes(mean: float, odds: float, *, paths: int = 20_000, looks: int = 300) -> int:
    """Paths of margins on which a class ever passes, looked at after every sample."""
    generator = np.random.default_rng(3)
    sigma = scales(paths, generator)
    total, squares = np.zeros(paths), np.zeros(paths)
    passed = np.zeros(paths, dtype=bool)
    for n in range(1, looks + 1):
        margin = mean + sigma * generator.standard_normal(paths)
        total, squares = total + margin, squares + margin**2
        found = total**2 / (NOISE.dof * NOISE.scale**2 + squares)
        passed |= (found >= critical_ratio(n, odds, NOISE)) & (total > 0)
    return int(passed.sum())


@pytest.mark.parametrize("mean", [0.0, -0.2, -2.0])
def test_looking_after_every_sample_keeps_the_promise(mean: float) -> None:
    passed = ever_passes(mean, 20.0)
    # At most one in 20 paths; more than the bound allows with this many paths happens once in 1/LEVEL.
    assert scipy.stats.binom.sf(passed - 1, 20_000, 1.0 / 20.0) > LEVEL
    assert passed > 500 or mean < 0.0  # the test is not empty


@pytest.mark.parametrize("n", [1, 2, 5, LOOKS, LOOKS + 1, 100])
def test_a_class_passes_by_the_factor_or_by_a_single_look(n: int) -> None:
    odds = 90.0
    bound = critical_ratio(n, odds, NOISE)

    def passes(found: float) -> bool:
        t = math.sqrt((NOISE.dof + n - 1) * found / (n - found))
        look = scipy.stats.t.sf(t, NOISE.dof + n - 1) <= 2.0 ** -(n + 1) / odds and n <= LOOKS
        factor = 2.0 * math.exp(log_bayes_factor(n, found)) - 1.0
        return look or factor >= 2.0 * odds

    assert passes(bound * (1.0 + 1e-9))
    assert not passes(bound * (1.0 - 1e-9))


def test_a_class_that_the_samples_cannot_settle_never_passes() -> None:
    noise = MarginNoise(1.0, 0.5)
    n = LOOKS + 1
    assert critical_ratio(n, 1e9, noise) > n


def test_a_fixed_test_of_the_same_size_would_not_keep_it() -> None:
    generator = np.random.default_rng(3)
    margins = generator.standard_normal((5000, 300)).cumsum(1) / np.sqrt(np.arange(1, 301))
    assert (margins.max(1) > scipy.stats.norm.isf(1 / 20)).mean() > 0.2


def given_up(seen: Tensor, lead: int, most: int, odds: float, noise: MarginNoise) -> bool:
    """Whether ``most`` samples will hardly settle a class, by the definition. Logits (n, C)."""
    n = len(seen)
    if n == most:
        return False

    def standardized(found: float, samples: int) -> float:
        return math.sqrt((noise.dof + samples - 1) * found / (samples - found) / samples)

    looks = {most, *range(1, min(LOOKS, most) + 1)}
    bounds = [(critical_ratio(one, odds, noise), one) for one in looks]
    least = min(standardized(found, one) for found, one in bounds if found < one)
    margins = [seen[:, lead] - seen[:, other] for other in range(seen.shape[1]) if other != lead]
    means = np.array([standardized(float(ratio(g, noise)), n) for g in margins])
    width = math.sqrt(1 / n - 1 / most)
    law = scipy.stats.norm
    chance = law.sf((least - means.min()) / width) + law.sf((least + means) / width).sum()
    return bool(2.0 * chance <= futility.CHANCE)


def settle(logits: Tensor, confidence: float, noise: MarginNoise) -> tuple[int, int, nsm.Reason]:
    """Samples used, the leading class then and why it ended, by the definition. Logits (S, C)."""
    classes = logits.shape[1]
    lead = -1
    for n in range(1, len(logits) + 1):
        seen = logits[:n].double()
        lead = int(seen.sum(0).argmax())
        odds = (classes - 1) / (1.0 - confidence)
        least = min(
            float(ratio(seen[:, lead] - seen[:, other], noise)) for other in range(classes) if other != lead
        )
        if least >= critical_ratio(n, odds, noise):
            return n, lead, nsm.Reason.SETTLED
        if given_up(seen, lead, len(logits), odds, noise):
            return n, lead, nsm.Reason.FUTILE
    return len(logits), lead, nsm.Reason.LIMIT


def assert_settled_one_by_one(got: nsm.Prediction, logits: Tensor, confidence: float) -> None:
    """That each answer is the one by the definition, for logits (N, S, C) under the default law."""
    for i, one in enumerate(logits):
        used, _, reason = settle(one, confidence, MarginNoise())
        assert int(got.samples_used[i]) == used
        assert nsm.Reason(int(got.reasons[i])) is reason
        votes = one[:used].softmax(-1)
        torch.testing.assert_close(got.probabilities[i], votes.mean(0), rtol=1e-5, atol=1e-6)
        own = torch.special.entr(votes).sum(-1).mean()
        torch.testing.assert_close(got.expected_entropy[i], own, rtol=1e-4, atol=1e-6)
    assert got.votes is None


def test_margins_follow_the_definition() -> None:
    torch.manual_seed(0)
    logits = torch.randn(40, 60, 4) + 2.0 * torch.randn(40, 1, 4)
    expected = [settle(one, CONFIDENCE, NOISE) for one in logits]
    margins, used = Margins(40, 4, torch.device("cpu")), torch.zeros(40, dtype=torch.int64)
    active = torch.arange(40)
    for n in range(60):
        standing = margins.add(logits[active, n : n + 1] + 100.0)  # a common shift changes nothing
        over = settled(standing, CONFIDENCE, NOISE)[:, 0] | futile(standing, 60, CONFIDENCE, NOISE)[:, 0]
        used[active[over]] = n + 1
        active = active[~over]
        margins.keep(~over)
    used[active] = 60
    assert used.tolist() == [n for n, *_ in expected]
    reasons = [reason for *_, reason in expected]
    assert {nsm.Reason.SETTLED, nsm.Reason.FUTILE} <= set(reasons)
    assert len(set(used.tolist())) > 5


def test_ties_of_all_classes_are_hardly_ever_settled() -> None:
    """The promise for an input: four classes of equal mean, so that any settled class is wrong."""
    generator, inputs = np.random.default_rng(5), 4000
    sigma = torch.from_numpy(scales(inputs, generator))[:, None] / math.sqrt(2.0)
    margins, wrong = Margins(inputs, 4, torch.device("cpu")), 0
    for _ in range(200):
        logits = sigma[:, :, None] * torch.from_numpy(generator.standard_normal((len(sigma), 1, 4)))
        over = settled(margins.add(logits), CONFIDENCE, NOISE)[:, 0]
        wrong += int(over.sum())
        margins.keep(~over)
        sigma = sigma[~over]
    assert scipy.stats.binom.sf(wrong - 1, inputs, 1.0 - CONFIDENCE) > LEVEL
    assert wrong > 0


def test_samples_added_together_stand_as_one_by_one() -> None:
    torch.manual_seed(0)
    logits = torch.randn(7, 9, 4)
    together, single = (Margins(7, 4, torch.device("cpu")) for _ in range(2))
    first, then = together.add(logits[:, :5]), together.add(logits[:, 5:])
    for n in range(9):
        expected = single.add(logits[:, n : n + 1])
        found, place = (first, n) if n < 5 else (then, n - 5)
        assert int(found.samples[place]) == int(expected.samples) == n + 1
        for whole, one in zip(found[1:], expected[1:], strict=True):
            assert torch.equal(whole[:, place], one[:, 0])


@pytest.mark.parametrize("noise", [MarginNoise(0.4, 3.0), MarginNoise(2.0, 12.0), MarginNoise(1.0, 200.0)])
def test_the_law_of_the_noise_is_found_again(noise: MarginNoise) -> None:
    generator = np.random.default_rng(7)
    sigma = torch.from_numpy(scales(4000, generator, noise))
    variances = (sigma[:, None] * torch.from_numpy(generator.standard_normal((4000, 20)))).var(1)
    found = fit._fitted(variances, 19)
    assert found.scale == pytest.approx(noise.scale, rel=0.05)
    assert found.dof == pytest.approx(noise.dof, rel=0.5 if noise.dof > 100 else 0.15)


def test_noise_without_excess_means_that_inputs_are_alike() -> None:
    assert fit._fitted(torch.ones(10), 19).dof == 1000.0


def test_the_law_of_a_network_is_measured_from_inputs_alone() -> None:
    torch.manual_seed(0)
    net, x = nsm.models.build("digits-mlp"), torch.rand(60, 1, 8, 8)
    noise = nsm.fit_margin_noise(net, x, samples=30, seed=1)
    with torch.no_grad():
        logits = nsm.nn.sample_outputs(net, x, seed=2, samples=torch.arange(200), inputs=torch.arange(60))
    leading = logits.mean(1).topk(2).indices
    pair = logits.gather(2, leading[:, None].expand(-1, 200, -1))
    assert noise.scale == pytest.approx(float((pair[..., 0] - pair[..., 1]).std(1).median()), rel=0.15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0.0}, "scale must be a finite number > 0, got 0.0"),
        ({"dof": math.inf}, "dof must be a finite number > 0, got inf"),
        ({"scale": "1"}, "scale must be a finite number > 0, got '1'"),
    ],
)
def test_impossible_laws_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MarginNoise(**arguments)  # type: ignore[arg-type]


def test_other_types_are_refused_before_anything_is_sampled() -> None:
    net = nsm.models.build("digits-mlp")
    with pytest.raises(TypeError, match="x must be a"):
        nsm.fit_margin_noise(net, [1.0, 2.0])  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="samples must be an int, got float"):
        nsm.fit_margin_noise(net, torch.rand(3, 1, 8, 8), samples=20.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"net must be a torch\.nn\.Module, got str"):
        nsm.fit_margin_noise("digits-mlp", torch.rand(3, 1, 8, 8))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "count", "samples", "message"),
    [
        ("nsm", 3, 4, "samples must be at least 5, got 4"),
        ("nsm", 1, 20, "x must hold at least 2 inputs, got 1"),
        ("twin", 3, 20, "net must draw"),
    ],
)
def test_a_law_that_cannot_be_measured_is_refused(
    model: nsm.models.Model, count: int, samples: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        nsm.fit_margin_noise(
            nsm.models.build("digits-mlp", model=model), torch.rand(count, 1, 8, 8), samples=samples
        )
