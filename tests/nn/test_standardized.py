"""Standardized layers: gains and biases that are counted from what neurons hear."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nsm
from nsm.nn import FIDELITIES, Conv2d, Fidelity, Linear, StochasticLayer, stochastic_layers

INPUTS = torch.arange(4)


def net(*, standardized: bool, **options: Any) -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(
        Conv2d(2, 6, 3, padding=1, population=3, max_pool=2, standardized=standardized),
        Conv2d(
            6,
            8,
            3,
            padding=1,
            binary_input=True,
            pooled=3,
            population=2,
            standardized=standardized,
            **options,
        ),
        nn.Flatten(),
        Linear(8 * 16, 7, binary_input=True, pooled=2, standardized=standardized, eta=0.2, **options),
        nn.Linear(7, 3),
    )


def learned() -> nn.Sequential:
    """A standardized network that has seen a few batches."""
    made = net(standardized=True)
    images = torch.randn(100, 2, 8, 8)
    nsm.nn.calibrate(made, images, spread=2.0)
    for batch in images.split(25):
        made(batch)
    return made.eval()


def signs(*shape: int) -> Tensor:
    return torch.sign(torch.randn(shape, dtype=torch.float64))


@pytest.mark.parametrize("fidelity", FIDELITIES)
def test_in_evaluation_it_is_a_layer_with_constants(fidelity: Fidelity) -> None:
    counted, plain = learned(), net(standardized=False)
    state = counted.state_dict()
    plain.load_state_dict({key: value for key, value in state.items() if key in plain.state_dict()})
    for (_, source), (_, layer) in zip(stochastic_layers(counted), stochastic_layers(plain), strict=True):
        gain, biases = source.neurons()
        assert layer.bias is not None
        layer.adopt(gain, torch.stack(biases).view_as(layer.bias))
    x = torch.randn(4, 2, 8, 8)
    with nsm.fidelity(fidelity), torch.no_grad():
        found, expected = (
            nsm.nn.sample_outputs(each, x, seed=1, samples=torch.arange(5), inputs=INPUTS)
            for each in (counted, plain)
        )
    torch.testing.assert_close(found, expected)


def test_in_training_s_is_standardized_over_the_batch() -> None:
    layer = Linear(40, 6, binary_input=True, population=2, standardized=True, fidelity="mean").double()
    x = signs(300, 40)
    hears = layer.product(x)
    s = (hears - hears.mean(0)) / hears.std(0, correction=0) * layer.beta
    expected = torch.erf(s[None] + layer.bias[:, None]).mean(0)
    torch.testing.assert_close(layer(x), expected, atol=1e-6, rtol=0)


def test_behind_real_inputs_the_batch_tells_the_unit_too() -> None:
    layer = Conv2d(2, 3, 3, population=2, standardized=True, fidelity="mean", eta=0.3).double()
    x = torch.randn(20, 2, 6, 6, dtype=torch.float64)
    hears, power = layer.product(x), nn.functional.conv2d(x.square(), layer.weight.square())

    def channels(values: Tensor) -> Tensor:
        return values[:, None, None]

    variance = layer.noise.variance
    counted = (hears - hears.mean((0, 2, 3), keepdim=True)) / channels(hears.std((0, 2, 3), correction=0))
    typical = variance * channels(power.mean((0, 2, 3))) + 0.09
    factor = (typical / (variance * power + 0.09)).sqrt()
    s = [(channels(layer.beta) * counted + channels(bias)) * factor for bias in layer.bias]
    torch.testing.assert_close(layer(x), torch.erf(torch.stack(s)).mean(0), atol=1e-6, rtol=0)


def test_a_small_field_counts_from_its_batch_as_any_other() -> None:
    torch.manual_seed(1)
    layer = Conv2d(2, 3, 3, standardized=True)
    x = torch.randn(50, 2, 6, 6) + 3.0
    layer(x)
    torch.testing.assert_close(layer.center, 0.1 * layer.product(x).mean((0, 2, 3)))
    assert (layer.power != 1.0).all()


@pytest.mark.parametrize("population", [1, 2])
@pytest.mark.parametrize("binary", [False, True])
def test_gradients_pass_through_the_statistics(binary: bool, population: int) -> None:
    layer = Conv2d(
        2, 3, 3, padding=1, binary_input=binary, population=population, standardized=True, fidelity="mean"
    ).double()
    shape = (3, 2, 4, 4)
    x = signs(*shape) if binary else torch.randn(shape, dtype=torch.float64)
    parameters = [p.detach().clone().requires_grad_() for p in (layer.weight, layer.beta, layer.bias)]

    def answers(x: Tensor, weight: Tensor, beta: Tensor, bias: Tensor) -> Any:
        changed = {"product.weight": weight, "beta": beta, "bias": bias}
        return torch.func.functional_call(layer, changed, (x,))

    assert torch.autograd.gradcheck(answers, (x.requires_grad_(), *parameters))


def test_running_averages_follow_batches_and_questions_leave_them() -> None:
    layer = Linear(12, 5, binary_input=True, standardized=True)
    first, second = signs(50, 12).float(), signs(60, 12).float()
    layer.take_statistics(first, layer.flat_product(first))
    torch.testing.assert_close(layer.center, layer.product(first).mean(0))
    torch.testing.assert_close(layer.deviation, layer.product(first).std(0, correction=0))
    layer(second)
    expected = 0.9 * layer.product(first).mean(0) + 0.1 * layer.product(second).mean(0)
    torch.testing.assert_close(layer.center, expected)
    before = layer.center.clone()
    layer.erf_argument(first)
    layer.eval()(first)
    assert torch.equal(layer.center, before)


def test_what_has_no_positions_is_not_counted_from() -> None:
    layer = Linear(4, 5, standardized=True)
    layer(torch.randn(6, 4))
    before = layer.center.clone()
    assert layer(torch.ones(3, 0, 4)).shape == (3, 0, 5)
    assert torch.equal(layer.center, before)


def test_it_starts_with_the_spread_that_calibration_is_asked_for() -> None:
    layers: list[StochasticLayer] = [layer for _, layer in stochastic_layers(learned())]
    for layer in layers:
        torch.testing.assert_close(layer.beta, torch.full_like(layer.beta, 2.0), atol=0.5, rtol=0)


@pytest.mark.usefixtures("fresh_compiler")
def test_it_compiles_without_graph_breaks() -> None:
    layer = Linear(12, 5, binary_input=True, standardized=True)
    other = Linear(12, 5, binary_input=True, standardized=True)
    other.load_state_dict(layer.state_dict())
    x = signs(8, 12).float()
    answers = []
    for module in (layer, torch.compile(other, fullgraph=True, backend="aot_eager")):
        with nsm.nn.draws(module, seed=1, samples=0, inputs=torch.arange(8)):
            answers.append(module(x))
    assert torch.equal(*answers)
    torch.testing.assert_close(layer.center, other.center)


def test_an_input_without_a_deviation_gives_an_answer() -> None:
    layer = Linear(12, 5, binary_input=True, standardized=True)
    assert layer(torch.ones(1, 12)).abs().max() <= 1.0
