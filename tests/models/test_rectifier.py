"""The noisy rectifier: its law, its gradient, and the coordinates of its draws."""

import math

import pytest
import scipy.stats
import torch
from torch import nn

import nsm
from nsm.models.rectifier import NoisyRectifier


@pytest.mark.parametrize("u", [-1.0, 0.0, 2.0])
def test_it_samples_its_law(u: float) -> None:
    module = NoisyRectifier()
    with nsm.nn.draws(module, seed=0, samples=0, inputs=torch.arange(200)):
        z = module(torch.full((200, 100), u)).flatten()
    scale = math.sqrt(1.0 / (1.0 + math.exp(-u)))
    silent = scipy.stats.norm.cdf(-u / scale)
    assert abs((z == 0.0).double().mean().item() - silent) < 4 * math.sqrt(silent * (1 - silent) / len(z))
    law = scipy.stats.truncnorm(-u / scale, math.inf, loc=u, scale=scale)
    assert scipy.stats.kstest(z[z > 0.0].numpy(), law.cdf).pvalue > 1e-3


def test_its_gradient_is_one_where_it_is_positive() -> None:
    u = torch.randn(20, 5, requires_grad=True)
    z = NoisyRectifier()(u)
    z.sum().backward()
    assert torch.equal(u.grad, (z > 0.0).float())


def test_draws_belong_to_sample_and_input() -> None:
    module, u = NoisyRectifier(), torch.randn(4, 3, 5, 5)
    inputs, samples = torch.tensor([7, 1, 0, 9]), torch.arange(2, 5)
    together = nsm.nn.sample_outputs(module, u, seed=3, samples=samples, inputs=inputs)
    assert together.shape == (4, 3, 3, 5, 5)
    for i in range(4):
        for k in range(3):
            with nsm.nn.draws(module, seed=3, samples=int(samples[k]), inputs=inputs[i : i + 1]):
                assert torch.equal(module(u[i : i + 1])[0], together[i, k])
    last = u.contiguous(memory_format=torch.channels_last)
    assert torch.equal(nsm.nn.sample_outputs(module, last, seed=3, samples=samples, inputs=inputs), together)


def test_the_default_generator_decides_outside_a_fixed_pass() -> None:
    module, u = NoisyRectifier(), torch.randn(4, 6)
    torch.manual_seed(5)
    first = module(u)
    assert not torch.equal(module(u), first)
    torch.manual_seed(5)
    assert torch.equal(module(u), first)


def test_two_of_a_network_draw_differently() -> None:
    net = nn.Sequential(NoisyRectifier(), NoisyRectifier())
    seen = []
    for module in net:
        module.register_forward_hook(lambda _module, inputs, output: seen.append(output - inputs[0]))
    with nsm.nn.draws(net, seed=0, samples=0, inputs=torch.arange(3)):
        net(torch.full((3, 4), 30.0))
    assert (seen[0] - seen[1]).abs().min() > 1e-4


def test_networks_of_them_share_what_comes_first() -> None:
    net = nsm.models.build("digits-mlp", model="sn")
    assert nsm.nn.is_stochastic(net)
    assert nsm.nn.is_chain(net)
    rows: list[int] = []
    linear = next(module for module in net if isinstance(module, nn.Linear))
    linear.register_forward_hook(lambda _module, _inputs, output: rows.append(len(output)))
    x = torch.rand(3, 1, 8, 8)
    nsm.nn.sample_outputs(net, x, seed=0, samples=torch.arange(5), inputs=torch.arange(3))
    assert rows == [3]
