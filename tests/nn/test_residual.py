"""Residual layers: averages of signs, their gradient, and what they refuse."""

import pytest
import torch
from torch import nn

import nsm
from nsm.nn import Binarize, Conv2d, Linear, Residual

INPUTS = torch.arange(5)


def _net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        Conv2d(2, 6, 3, padding=1),
        Residual(Conv2d(6, 6, 3, padding=1, binary_input=True)),
        Residual(Conv2d(6, 6, 1, binary_input=True, pooled=2)),
        nn.Flatten(),
        Linear(96, 7, binary_input=True, pooled=3),
        nn.Linear(7, 3),
    )


def _images(count: int = 5) -> torch.Tensor:
    return torch.rand(count, 2, 4, 4, generator=torch.Generator().manual_seed(1))


def test_what_leaves_is_the_average_of_input_and_samples():
    layer = Linear(30, 30, binary_input=True, pooled=3)
    residual = Residual(layer)
    x = torch.randint(0, 4, (5, 30)).float() * (2 / 3) - 1
    with nsm.nn.draws(residual, seed=3, samples=0, inputs=INPUTS):
        found = residual(x)
    with nsm.nn.draws(layer, seed=3, samples=0, inputs=INPUTS):
        z = layer(x)
    torch.testing.assert_close(found, (3 * x + z) / 4)
    assert residual.pooled == 4


@pytest.mark.parametrize("fidelity", nsm.nn.FIDELITIES)
def test_activations_are_averages_of_as_many_signs_as_are_declared(fidelity):
    net = _net()
    with nsm.fidelity(fidelity), nsm.nn.draws(net, seed=0, samples=0, inputs=INPUTS):
        twice = (net[:3](_images()).detach() + 1.0) * 1.5
    whole = (twice - twice.round()).abs() < 1e-5
    assert bool(whole.all()) == (fidelity not in ("mean", "marginal"))
    assert -1e-5 <= float(twice.min()) <= float(twice.max()) <= 3.0 + 1e-5


def test_the_mean_is_that_of_many_samples():
    net, x = _net()[:2], _images(1)
    samples = torch.arange(20_000)
    drawn = nsm.nn.sample_outputs(net, x, seed=5, samples=samples, inputs=torch.arange(1))[0]
    first, layer = net[0], net[1].layer
    with torch.no_grad():
        z = nsm.nn.sample_outputs(nn.Sequential(first), x, seed=5, samples=samples, inputs=torch.arange(1))[0]
        expected = (z + torch.erf(layer.erf_argument(z)).movedim(1, 2).reshape(z.shape)) / 2
    # A standard error is at most 1/2 / sqrt(20,000) = .0035.
    torch.testing.assert_close(drawn.mean(0), expected.mean(0), atol=0.018, rtol=0)


def test_the_gradient_is_shared_between_input_and_neurons():
    layer = Linear(12, 12, binary_input=True, pooled=2)
    x = torch.randint(0, 3, (4, 12)).float() - 1.0
    gradients = []
    for module in (Residual(layer), layer):
        given = x.clone().requires_grad_()
        with nsm.nn.draws(module, seed=1, samples=0, inputs=torch.arange(4)):
            module(given).sum().backward()
        gradients.append(given.grad)
    torch.testing.assert_close(gradients[0], (2.0 + gradients[1]) / 3.0)


def test_samples_of_a_pass_are_those_of_single_passes():
    net, x = _net(), _images()
    together = nsm.nn.sample_outputs(net, x, seed=2, samples=torch.arange(3), inputs=INPUTS)
    for sample in range(3):
        with nsm.nn.draws(net, seed=2, samples=sample, inputs=INPUTS):
            torch.testing.assert_close(together[:, sample], net(x))


def test_a_first_residual_layer_draws_several_samples_of_a_row():
    net = nn.Sequential(Binarize(), Residual(Linear(8, 8, binary_input=True)), nn.Linear(8, 2))
    assert nsm.nn.is_chain(net)
    x = torch.rand(4, 8)
    found = nsm.predict(net, x, samples=6, votes=True)
    assert found.votes.shape == (4, 6, 2)
    alone = nsm.predict(net, x[2:3], samples=6, votes=True, inputs=torch.tensor([2]))
    torch.testing.assert_close(alone.votes[0], found.votes[2])


def test_no_inputs_give_no_outputs():
    net, x = _net(), _images(0)
    assert net(x).shape == (0, 3)
    none = torch.arange(0)
    assert nsm.nn.sample_outputs(net, x, seed=0, samples=torch.arange(3), inputs=none).shape == (0, 3, 3)


def test_layers_inside_are_calibrated():
    net, x = _net(), _images(200)
    nsm.nn.calibrate(net, x, spread=0.7)
    with nsm.nn.draws(net, seed=0, samples=0, inputs=torch.arange(200)):
        received = net[0](x)
    s = net[1].layer.erf_argument(received)
    torch.testing.assert_close(s.std((0, 1)), torch.full((6,), 0.7), atol=0.1, rtol=0)


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (nn.Linear(3, 3), TypeError, "layer must be a stochastic layer such as nsm.nn.Conv2d, got Linear"),
        (Linear(3, 3), ValueError, "layer must have binary_input=True"),
    ],
)
def test_a_layer_that_cannot_be_residual_is_named(layer, error, message):
    with pytest.raises(error, match=message):
        Residual(layer)


def test_a_layer_that_changes_the_shape_is_refused():
    with pytest.raises(ValueError, match=r"keep the shape of its input, \(2, 3, 4, 4\), got \(2, 3, 2, 2\)"):
        Residual(Conv2d(3, 3, 3, binary_input=True))(torch.ones(2, 3, 4, 4))
