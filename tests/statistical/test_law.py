"""Firing frequencies against the exact law: every law, layer, fidelity and kind of input."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import nsm
from nsm.nn import StochasticLayer
from nsm.noise import NoiseLaw
from tests.statistical import exact
from tests.statistical.budget import assert_frequencies, assert_uncorrelated

TRIALS = 3000
LAWS: list[NoiseLaw] = [
    nsm.Bernoulli(0.5),
    nsm.Bernoulli(0.2),
    nsm.Gaussian(0.8),
    nsm.Measured([0.1, 0.9, 0.9, 1.3, 2.0]),
]
Make = Callable[..., StochasticLayer]
LAYERS: dict[str, tuple[Make, tuple[int, ...]]] = {
    "linear": (lambda **kw: nsm.nn.Linear(6, 4, **kw), (6,)),
    "conv1d": (lambda **kw: nsm.nn.Conv1d(2, 4, 3, stride=2, **kw), (2, 7)),
    "conv2d": (lambda **kw: nsm.nn.Conv2d(2, 4, (2, 3), groups=2, **kw), (2, 4, 4)),
    "conv3d": (lambda **kw: nsm.nn.Conv3d(1, 3, (1, 2, 3), dilation=(1, 1, 2), **kw), (1, 2, 3, 6)),
    "conv1d-padded": (lambda **kw: nsm.nn.Conv1d(2, 4, 3, padding="same", **kw), (2, 5)),
    "conv2d-padded": (lambda **kw: nsm.nn.Conv2d(1, 4, (2, 3), padding=1, **kw), (1, 3, 4)),
    "conv2d-circular": (
        lambda **kw: nsm.nn.Conv2d(1, 4, (2, 3), padding=1, padding_mode="circular", **kw),
        (1, 3, 4),
    ),
    "conv2d-centered": (lambda **kw: nsm.nn.centered(nsm.nn.Conv2d(2, 4, (2, 3), **kw)), (2, 4, 4)),
    "conv3d-padded": (lambda **kw: nsm.nn.Conv3d(1, 3, (1, 2, 3), padding=(0, 1, 1), **kw), (1, 2, 2, 3)),
}
INPUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "binary": lambda x: torch.where(x >= 0, 1.0, -1.0),
    "real": lambda x: x,
}


def prepared(kind: str, law: NoiseLaw, seed: int, **options: object) -> tuple[StochasticLayer, Tensor]:
    """A layer with random parameters, a != 0, and one random input without batch dimension."""
    make, shape = LAYERS[kind]
    torch.manual_seed(seed)
    layer = make(noise=law, **options)
    with torch.no_grad():
        layer.a = 0.3 * torch.randn(len(layer.weight))
        assert layer.bias is not None
        layer.bias.mul_(0.5)
    return layer, torch.randn(shape)


def frequencies(layer: StochasticLayer, x: Tensor, seed: int, trials: int = TRIALS) -> Tensor:
    """Counts of +1 over trials on one input, (P, C)."""
    draws = nsm.nn.draws(
        layer, seed=seed, samples=torch.arange(trials), inputs=torch.zeros(trials, dtype=torch.int64)
    )
    with torch.no_grad(), draws:
        z = layer(x[None])
    assert set(z.unique().tolist()) <= {-1.0, 1.0}
    return layer.flatten(z).gt(0).sum(0)


def by_position(
    layer: StochasticLayer, x: Tensor, law: Callable[[StochasticLayer, Tensor], Tensor]
) -> Tensor:
    """A law of one neuron's receptive field, at every position: (P, C)."""
    fields = layer._fields(x[None])[0]
    fields = fields.repeat_interleave(len(layer.weight) // fields.shape[1], dim=1)
    return torch.stack([law(layer, field) for field in fields])


CASES = list(itertools.product(LAYERS, LAWS, INPUTS))


@pytest.mark.parametrize(("kind", "law", "form"), CASES, ids=str)
def test_moment_samples_the_two_moment_law(kind: str, law: NoiseLaw, form: str) -> None:
    for declared in {False, form == "binary"}:
        layer, x = prepared(kind, law, seed=1, binary_input=declared)
        x = INPUTS[form](x)
        assert_frequencies(frequencies(layer, x, 2), TRIALS, by_position(layer, x, exact.two_moment))


@pytest.mark.parametrize(("kind", "law", "form"), CASES, ids=str)
@pytest.mark.parametrize("fidelity", ["synapse", "unit"])
def test_drawn_synapses_follow_the_physical_law(
    kind: str, law: NoiseLaw, form: str, fidelity: nsm.nn.Fidelity
) -> None:
    layer, x = prepared(kind, law, seed=3, fidelity=fidelity)
    x = INPUTS[form](x)
    assert_frequencies(frequencies(layer, x, 4), TRIALS, by_position(layer, x, exact.physical))


@pytest.mark.parametrize("kind", ["linear", "conv1d", "conv1d-padded"])
@pytest.mark.parametrize("law", [nsm.Bernoulli(0.2), nsm.Gaussian(0.8)], ids=repr)
@pytest.mark.parametrize("fidelity", ["moment", "synapse", "unit"])
def test_every_sign_behind_an_average_has_a_synapse(
    kind: str, law: NoiseLaw, fidelity: nsm.nn.Fidelity
) -> None:
    layer, x = prepared(kind, law, seed=12, fidelity=fidelity, binary_input=True, pooled=3)
    x = (torch.rand(*x.shape, 3) < 0.6).float().mul(2).sub(1).mean(-1)
    expected = by_position(layer, x, exact.two_moment if fidelity == "moment" else exact.physical)
    assert_frequencies(frequencies(layer, x, 13), TRIALS, expected)


@pytest.mark.parametrize("fidelity", ["moment", "synapse", "unit"])
def test_an_average_of_zero_is_noisy(fidelity: nsm.nn.Fidelity) -> None:
    layer = nsm.nn.Linear(
        3, 4, bias=False, noise=nsm.Gaussian(1.0), fidelity=fidelity, binary_input=True, pooled=2
    )
    assert_frequencies(frequencies(layer, torch.zeros(3), 14), TRIALS, torch.full((1, 4), 0.5))


@pytest.mark.parametrize("fidelity", ["moment", "synapse", "unit"])
@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_additive_noise_widens_the_law(law: NoiseLaw, fidelity: nsm.nn.Fidelity) -> None:
    layer, x = prepared("conv1d", law, seed=5, fidelity=fidelity, eta=0.7)
    expected = by_position(layer, x, exact.two_moment if fidelity == "moment" else exact.physical)
    assert_frequencies(frequencies(layer, x, 6), TRIALS, expected)


@pytest.mark.parametrize("law", LAWS, ids=repr)
@pytest.mark.parametrize("form", INPUTS)
def test_moment_agrees_with_synapse_from_fifty_inputs_on(law: NoiseLaw, form: str) -> None:
    torch.manual_seed(7)
    layer = nsm.nn.Linear(64, 24, noise=law)
    x = INPUTS[form](torch.randn(64))
    trials = 20_000
    with nsm.fidelity("synapse"):
        counts = frequencies(layer, x, 8, trials)
    # Measured by the clt study: below 0.01 at this fan-in for every law here.
    assert_frequencies(counts, trials, by_position(layer, x, exact.two_moment), slack=0.01)


@pytest.mark.parametrize("form", INPUTS)
@pytest.mark.parametrize("law", [nsm.Bernoulli(0.2), nsm.Gaussian(0.8)], ids=repr)
@pytest.mark.parametrize("fidelity", ["moment", "synapse"])
def test_the_maximum_is_that_of_independent_neurons(
    fidelity: nsm.nn.Fidelity, law: NoiseLaw, form: str
) -> None:
    layer, x = prepared("conv2d-padded", law, seed=15, fidelity=fidelity, max_pool=2)
    x = INPUTS[form](x)
    single = by_position(layer, x, exact.two_moment if fidelity == "moment" else exact.physical)
    # 4 x 4 positions: two rows of two windows.
    silent = (1.0 - single).view(2, 2, 2, 2, -1)
    expected = 1.0 - silent.prod(3).prod(1).flatten(0, 1)
    assert_frequencies(frequencies(layer, x, 16), TRIALS, expected)
    with nsm.fidelity("mean"), torch.no_grad():
        mean = layer.flatten(layer(x[None]))[0].double()
    if fidelity == "moment":
        torch.testing.assert_close(mean, 2 * expected - 1, atol=2e-6, rtol=0)


@pytest.mark.parametrize("kind", ["linear", "conv2d-padded"])
def test_mean_and_threshold_are_the_laws_of_their_names(kind: str) -> None:
    layer, x = prepared(kind, nsm.Bernoulli(0.4), seed=9)
    probability = by_position(layer, x, exact.two_moment)
    with torch.no_grad():
        with nsm.fidelity("mean"):
            mean = layer.flatten(layer(x[None]))[0]
        with nsm.fidelity("threshold"):
            signs = layer.flatten(layer(x[None]))[0]
    torch.testing.assert_close(mean.double(), 2 * probability - 1, atol=2e-6, rtol=0)
    assert torch.equal(signs.double(), torch.where(probability >= 0.5, 1.0, -1.0).double())


def _pairs(layer: StochasticLayer, x: Tensor, trials: int = 20_000) -> Tensor:
    draws = nsm.nn.draws(
        layer, seed=11, samples=torch.arange(trials), inputs=torch.zeros(trials, dtype=torch.int64)
    )
    with torch.no_grad(), draws:
        return layer.flatten(layer(x[None])).flatten(1)


@pytest.mark.parametrize("kind", ["linear", "conv1d", "conv2d-padded"])
@pytest.mark.parametrize("fidelity", ["moment", "synapse"])
def test_neurons_are_independent_given_the_input(kind: str, fidelity: nsm.nn.Fidelity) -> None:
    layer, x = prepared(kind, nsm.Bernoulli(0.5), seed=10, fidelity=fidelity)
    states = _pairs(layer, x)
    varied = [i for i in range(states.shape[1]) if 0.02 < states[:, i].gt(0).float().mean() < 0.98][:12]
    assert len(varied) >= 3
    for i, j in itertools.combinations(varied, 2):
        assert_uncorrelated(states[:, i], states[:, j])


def test_neurons_share_the_noise_of_their_inputs_at_fidelity_unit() -> None:
    layer, x = prepared("linear", nsm.Bernoulli(0.5), seed=10, fidelity="unit")
    with torch.no_grad():
        layer.product.weight[1] = layer.product.weight[0]
        layer.bias.zero_()  # type: ignore[union-attr]
        layer.a = 0.0
    states = _pairs(layer, torch.ones_like(x))
    # Two neurons with the same weights see the same factors: they always agree. Under synaptic noise they
    # would not.
    assert torch.equal(states[:, 0], states[:, 1])
    with nsm.fidelity("synapse"):
        states = _pairs(layer, torch.ones_like(x))
    assert not torch.equal(states[:, 0], states[:, 1])


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_draws_of_a_law_have_its_distribution(law: NoiseLaw) -> None:
    from scipy import stats

    drawn = law.draw((200_000,), generator=12).double().numpy()
    if isinstance(law, nsm.Gaussian):
        assert stats.kstest(drawn, stats.norm(1.0, law.std).cdf).pvalue > 1e-6
    else:
        values, weights = exact.atoms(law)
        counts = [(abs(drawn - value) < 1e-6).sum() for value in values]
        assert sum(counts) == len(drawn)
        assert stats.chisquare(counts, weights * len(drawn)).pvalue > 1e-6


def test_scaling_a_neurons_weights_changes_no_probability() -> None:
    torch.manual_seed(13)
    x = torch.randn(5, 3, 6, 6)
    for declared in (False, True):
        z = torch.sign(x) if declared else x
        layer = nsm.nn.Conv2d(3, 8, 3, padding=1, bias=False, fidelity="mean", binary_input=declared)
        before = layer(z)
        with torch.no_grad():
            layer.product.weight.mul_(torch.logspace(-6, 6, 8)[:, None, None, None])
        torch.testing.assert_close(layer(z), before, atol=1e-5, rtol=1e-5)
