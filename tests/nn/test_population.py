"""Populations: neurons that hear the same with noise and thresholds of their own, and their average."""

import pytest
import torch
from torch import Tensor, nn

import nsm
from nsm.nn import Conv2d, Linear, StochasticLayer
from tests.statistical.budget import assert_frequencies

TRIALS = 3000


def singles(layer: StochasticLayer) -> list[StochasticLayer]:
    """The neurons of a population as layers of single neurons."""
    found = []
    for k in range(layer.population):
        kind = type(layer)
        single = kind.from_product(
            kind._module(3, 4, 3, bias=False) if isinstance(layer, Conv2d) else nn.Linear(6, 4, bias=False),
            noise=layer.noise,
            fidelity=layer.fidelity,
            estimator=layer.estimator,
            eta=layer.eta,
            binary_input=layer.binary_input,
            pooled=layer.pooled,
        )
        single.product.weight, single.beta = layer.product.weight, layer.beta
        assert layer.bias is not None
        single.bias = nn.Parameter(layer.bias[k].detach().clone())
        found.append(single)
    return found


def positive(probabilities: Tensor) -> Tensor:
    """P(at least m of the K neurons fire), m = 1 .. K, for probabilities (K, ...): (K, ...)."""
    law = torch.ones_like(probabilities[:1])
    for p in probabilities:
        law = torch.cat((law * (1 - p), law[:1] * 0)) + torch.cat((law[:1] * 0, law * p))
    return law.flip(0).cumsum(0).flip(0)[1:]


@pytest.mark.parametrize("fidelity", ["moment", "synapse"])
@pytest.mark.parametrize(
    "declared", [{}, {"binary_input": True}, {"binary_input": True, "pooled": 2}], ids=str
)
def test_neurons_of_a_population_are_independent(fidelity: nsm.nn.Fidelity, declared: dict) -> None:
    torch.manual_seed(3)
    layer = Linear(6, 4, population=3, noise=nsm.Gaussian(0.8), fidelity=fidelity, eta=0.2, **declared)
    layer.a = 0.4
    x = torch.sign(torch.randn(1, 6))
    z = nsm.nn.sample_outputs(
        nn.Sequential(layer), x, seed=5, samples=torch.arange(TRIALS), inputs=torch.arange(1)
    )
    count = ((z[0] + 1) * 1.5).round()
    with torch.no_grad():
        # Gaussian synapses give a Gaussian u: the law is exact at both fidelities.
        exact = positive(0.5 + 0.5 * torch.erf(layer.erf_argument(x).double())[:, 0, 0])
    fired = torch.stack([(count >= m).sum(0) for m in (1, 2, 3)])
    assert_frequencies(fired, TRIALS, exact)


@pytest.mark.parametrize("fidelity", ["mean", "marginal", "threshold"])
@pytest.mark.parametrize("declared", [{}, {"binary_input": True}], ids=str)
def test_without_draws_it_is_the_average_of_its_neurons(fidelity: nsm.nn.Fidelity, declared: dict) -> None:
    layer = Conv2d(3, 4, 3, population=3, fidelity=fidelity, estimator="smoothed", **declared)
    x = torch.sign(torch.randn(2, 3, 5, 5)).requires_grad_()
    weights = torch.randn(2, 4, 3, 3)
    neurons = singles(layer)
    average = sum(neuron(x) for neuron in neurons) / 3
    torch.testing.assert_close(layer(x), average)
    expected = torch.autograd.grad((average * weights).sum(), (x, layer.beta, *(n.bias for n in neurons)))
    found = torch.autograd.grad((layer(x) * weights).sum(), (x, layer.beta, layer.bias))
    torch.testing.assert_close(found[:2], expected[:2])
    torch.testing.assert_close(found[2], torch.stack(expected[2:]))


POOLED = [
    {"max_pool": 2},
    {"max_pool": 2, "padding": 1},
    {"max_pool": 2, "binary_input": True},
    {"max_pool": 2, "binary_input": True, "pooled": 2, "padding": 1},
    {"padding": 1},
]


@pytest.mark.parametrize("declared", POOLED, ids=str)
def test_maxima_of_a_population_are_independent(declared: dict) -> None:
    torch.manual_seed(4)
    layer = Conv2d(2, 3, 3, population=3, eta=0.3, **declared)
    layer.a = 0.4
    x = torch.sign(torch.randn(1, 2, 6, 6))
    z = nsm.nn.sample_outputs(
        nn.Sequential(layer), x, seed=5, samples=torch.arange(TRIALS), inputs=torch.arange(1)
    )
    count = ((z[0] + 1) * 1.5).round()
    with torch.no_grad():
        silent = 0.5 * torch.erfc(layer.erf_argument(x).double())[:, 0]  # (K, P, C)
        silent = silent.unflatten(1, (round(silent.shape[1] ** 0.5), -1))
        if "max_pool" in declared:
            silent = silent.unflatten(1, (-1, 2)).unflatten(3, (-1, 2)).prod(4).prod(2)
        exact = positive(1.0 - silent).permute(0, 3, 1, 2)
    fired = torch.stack([(count >= m).sum(0) for m in (1, 2, 3)])
    assert fired.shape == exact.shape
    assert_frequencies(fired, TRIALS, exact)


@pytest.mark.parametrize("declared", POOLED, ids=str)
def test_a_sample_has_the_gradient_of_the_mean(declared: dict) -> None:
    layer = Conv2d(2, 3, 3, population=3, eta=0.3, standardized=True, estimator="smoothed", **declared)
    x = torch.sign(torch.randn(4, 2, 6, 6)).requires_grad_()
    weights = torch.randn_like(layer(x))
    gradients = []
    for fidelity in ("moment", "mean"):
        with nsm.fidelity(fidelity):
            gradients.append(torch.autograd.grad((layer(x) * weights).sum(), (x, *layer.parameters())))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("fresh_compiler")
def test_it_compiles_without_graph_breaks_for_batches_of_any_size() -> None:
    def net() -> nn.Sequential:
        return nn.Sequential(
            Conv2d(1, 4, 3, max_pool=2, population=3, standardized=True),
            Conv2d(
                4, 4, 3, padding=1, max_pool=2, binary_input=True, pooled=3, population=2, standardized=True
            ),
        )

    one, other = net(), net()
    x = torch.rand(5, 1, 10, 10)
    nsm.nn.calibrate(one, x, seed=0)
    other.load_state_dict(one.state_dict())
    compiled = torch.compile(other, fullgraph=True, backend="aot_eager")
    # Sizes that differ are symbols to the compiler, and one image is a case of its own.
    for count in (5, 3, 1):
        gradients = []
        for module in (one, compiled):
            with nsm.nn.draws(module, seed=1, samples=0, inputs=torch.arange(count)):
                z = module(x[:count])
            gradients.append((z, *torch.autograd.grad(z.square().sum(), module.parameters())))
        for found, expected in zip(*gradients, strict=True):
            torch.testing.assert_close(found, expected)


def test_calibrated_thresholds_lie_in_a_row() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        Conv2d(3, 8, 3, binary_input=True, population=4),
        Conv2d(8, 8, 3, binary_input=True, pooled=4, population=2),
    )
    x = torch.sign(torch.randn(100, 3, 9, 9))
    nsm.nn.calibrate(net, x, spread=2.0)
    first = net[0].erf_argument(x)
    deviation = first.std((1, 2), correction=0)
    torch.testing.assert_close(deviation, torch.full_like(deviation, 2.0), atol=1e-3, rtol=0)
    steps = first.mean((1, 2)).diff(dim=0)
    torch.testing.assert_close(steps, torch.full_like(steps, -2.5 * 2.0 / 4), atol=1e-3, rtol=0)
    with torch.no_grad():
        activity = net[0](x).mean((0, 2, 3))
    # Of normal numbers, a share of .38, .17, .06 and .015 lies above the four thresholds.
    assert ((activity > -0.8) & (activity < -0.5)).all()


def test_residual_activations_count_all_signs() -> None:
    layer = Linear(30, 30, binary_input=True, pooled=4, population=2)
    residual = nsm.nn.Residual(layer)
    x = torch.randint(0, 5, (5, 30)).float() / 2 - 1
    inputs = torch.arange(5)
    with nsm.nn.draws(residual, seed=3, samples=0, inputs=inputs):
        found = residual(x)
    with nsm.nn.draws(layer, seed=3, samples=0, inputs=inputs):
        z = layer(x)
    torch.testing.assert_close(found, (4 * x + 2 * z) / 6)
    assert residual.pooled == 6
