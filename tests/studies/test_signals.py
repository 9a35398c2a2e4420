import math

import pytest
import torch
from torch import nn

import nsm
from nsm.studies.signals import signals, states


def network(bias: float) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nsm.nn.Linear(20, 30, binary_input=True), nn.Linear(30, 3))
    with torch.no_grad():
        net[0].product.weight.fill_(1.0)
        net[0].bias.fill_(bias)
        net[0].a = -net[0].noise.mean
    return net


def test_a_neuron_that_ignores_its_input_carries_no_signal() -> None:
    images = torch.randn(40, 20).sign()
    (layer,) = signals(network(0.0), images, torch.randint(3, (40,)), samples=64)
    assert layer.layer == "0"
    assert layer.gain == pytest.approx(0.0)
    assert layer.undecided == 1.0
    assert abs(layer.activation_snr) < 0.01


def test_a_sure_neuron_has_no_noise() -> None:
    net = network(100.0)
    (layer,) = signals(net, torch.randn(40, 20).sign(), torch.randint(3, (40,)), samples=4)
    assert layer.undecided == 0.0
    assert math.isnan(layer.activation_snr)


def test_the_ratio_is_that_of_the_law() -> None:
    # s is +-c by the input alone: E[z] = +-erf(c), variance between inputs erf(c)^2, around it 1 - erf(c)^2.
    net = network(0.0)
    with torch.no_grad():
        net[0].beta.fill_(0.6 / math.sqrt(20.0))
    images = torch.ones(40, 20) * torch.tensor([1.0, -1.0]).repeat(20)[:, None]
    (layer,) = signals(net, images, torch.randint(3, (40,)), samples=400)
    mean = math.erf(0.6)
    expected = mean**2 * 40 / 39 / (1.0 - mean**2)
    assert layer.activation_snr == pytest.approx(expected, rel=0.05)


def test_gradients_agree_where_the_output_ignores_the_draw() -> None:
    net = network(0.0)
    with torch.no_grad():
        net[1].weight.zero_()
    images, targets = torch.randn(40, 20).sign(), torch.randint(3, (40,))
    (layer,) = signals(net, images, targets, samples=4)
    assert math.isnan(layer.gradient_snr)  # no gradient reaches the layer at all


@pytest.mark.parametrize(("bias", "undecided"), [(0.0, 1.0), (100.0, 0.0)])
def test_neurons_that_ignore_their_input_are_all_alike(bias: float, undecided: float) -> None:
    net = network(bias + 1.0)
    (state,) = states(net, torch.randn(40, 20).sign())
    assert state.undecided == undecided
    assert state.common == pytest.approx(1.0)


def test_neurons_that_follow_their_input_have_nothing_in_common() -> None:
    net = network(0.0)
    with torch.no_grad():
        net[0].beta.fill_(1.0)
    images = torch.ones(40, 20) * torch.tensor([1.0, -1.0]).repeat(20)[:, None]
    (state,) = states(net, images)
    assert (state.undecided, state.common) == (0.0, pytest.approx(0.0))


def test_a_population_is_judged_by_what_it_hands_on() -> None:
    layer = nsm.nn.Linear(20, 30, binary_input=True, population=2)
    with torch.no_grad():
        layer.product.weight.fill_(1.0)
        assert layer.bias is not None
        layer.bias.copy_(torch.tensor([100.0, 0.0])[:, None].expand(2, 30))
        layer.a = -layer.noise.mean
    (state,) = states(nn.Sequential(layer, nn.Linear(30, 3)), torch.randn(40, 20).sign())
    assert state.undecided == 0.5
    assert state.common == pytest.approx(1.0)
