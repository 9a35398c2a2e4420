"""Weights that sum to zero: values, gradient, what they hear, and what is refused."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import nsm
from nsm.nn import Conv2d, Linear, centered

INPUTS = torch.arange(5)


def test_weights_are_those_learned_less_their_mean_and_so_is_the_gradient():
    layer = Conv2d(2, 3, (3, 2))
    learned = layer.weight.detach().clone()
    centered(layer)
    expected = learned - learned.flatten(1).mean(1)[:, None, None, None]
    torch.testing.assert_close(layer.weight, expected)
    g = torch.randn_like(learned)
    (layer.weight * g).sum().backward()
    found = layer.product.parametrizations.weight.original.grad
    torch.testing.assert_close(found, g - g.flatten(1).mean(1)[:, None, None, None])


@pytest.mark.parametrize("shift", [0.25, 3.0])
def test_what_all_inputs_have_in_common_only_makes_neurons_less_sure(shift: float):
    torch.manual_seed(0)
    layer = centered(Linear(40, 30, bias=False))
    x = torch.rand(20, 40)
    before, after = layer.erf_argument(x), layer.erf_argument(x + shift)
    torch.testing.assert_close(layer.product(x + shift), layer.product(x), rtol=0, atol=1e-5)
    assert (after.abs() < before.abs()).all()


def test_a_first_layer_draws_as_one_with_the_same_weights():
    torch.manual_seed(1)
    layer = centered(Conv2d(1, 4, 5, max_pool=2))
    plain = Conv2d(1, 4, 5, max_pool=2)
    with torch.no_grad():
        plain.weight.copy_(layer.weight)
        plain.bias.copy_(layer.bias)
    x = torch.rand(5, 1, 12, 12)
    assert layer._senses(x), "the fast path for small receptive fields"
    samples, gradients = [], []
    for one in (layer, plain):
        with nsm.nn.draws(one, seed=3, samples=0, inputs=INPUTS):
            samples.append(one(x))
        (samples[-1] * torch.linspace(-1, 1, samples[-1].numel()).view_as(samples[-1])).sum().backward()
    assert torch.equal(*samples)
    gradients = [layer.product.parametrizations.weight.original.grad, plain.product.weight.grad]
    torch.testing.assert_close(gradients[0], gradients[1] - gradients[1].mean((1, 2, 3), keepdim=True))


@pytest.mark.parametrize("kind", ["nsm", "twin"])
def test_a_centered_network_stays_centered_as_it_learns(kind: nsm.models.Model):
    torch.manual_seed(0)
    net = nsm.models.build("digits-mlp", model=kind, centered=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    x, y = torch.rand(20, 1, 8, 8), torch.arange(20) % 10
    before = F.cross_entropy(net(x), y).item()
    for _ in range(20):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    assert F.cross_entropy(net(x), y).item() < before
    hidden = [m for m in net.modules() if isinstance(m, nn.Linear)][:-1]
    assert all(m.weight.sum(1).abs().max() < 1e-4 for m in hidden)


def test_converting_a_centered_twin_keeps_its_weights():
    torch.manual_seed(0)
    twin = nsm.models.build("digits-mlp", model="twin", centered=True)
    product = next(m for m in twin.modules() if isinstance(m, nn.Linear))
    net = nsm.convert(twin, noise=nsm.Bernoulli(0.5), calibration=torch.rand(20, 1, 8, 8))
    _, layer = nsm.nn.stochastic_layers(net)[0]
    torch.testing.assert_close(layer.weight, product.weight)


def test_what_cannot_be_centered_is_refused():
    with pytest.raises(TypeError, match=r"layer must be a stochastic layer, .*, got ReLU"):
        centered(nn.ReLU())
    with pytest.raises(ValueError, match="more than one synapse"):
        centered(Linear(1, 5))
    with pytest.raises(ValueError, match="is centered already"):
        centered(centered(nn.Linear(3, 2)))
