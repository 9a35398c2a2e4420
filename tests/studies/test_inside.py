"""What is measured inside a network, by hand; and a run that is looked at between its steps."""

import pytest
import torch
from torch import nn

from nsm import data
from nsm.models import build
from nsm.nn import stochastic_layers
from nsm.studies.inside import (
    WEIGHT_PERCENTILES,
    beginning,
    hidden_layers,
    preactivations,
    weight_percentiles,
)
from nsm.studies.stepping import stepped
from nsm.training import NotFiniteError, load_splits, train
from tests.training.configs import digits


@pytest.fixture
def images():
    return torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("model", ["nsm", "stnn", "twin", "twin-bn", "twin-wn"])
def test_hidden_layers_are_all_but_the_classifier(model):
    net = build("digits-mlp", model=model)
    assert [tuple(layer.product.weight.shape) for layer in hidden_layers(net)] == [(256, 64), (128, 256)]
    assert [layer.bias is None for layer in hidden_layers(net)] == [model == "twin-bn"] * 2
    percentiles = weight_percentiles(net)
    assert [len(layer) for layer in percentiles] == [len(WEIGHT_PERCENTILES)] * 2
    # Fresh weights are uniform in +-1/sqrt(n).
    assert percentiles[0][0] == pytest.approx(-0.98 / 8, rel=0.02)
    assert percentiles[0][-1] == pytest.approx(0.98 / 8, rel=0.02)


def test_rectifiers_are_looked_at_where_they_receive(images):
    net = build("digits-mlp", model="twin")
    with torch.no_grad():
        hidden = net[:3](images)
        assert torch.allclose(preactivations(net, images), net[3](hidden))


def test_batch_normalization_takes_these_images_and_is_left_as_it_was(images):
    net = build("digits-mlp", model="twin-bn")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = preactivations(net, images)
    assert found.shape == (50, 128)
    assert torch.allclose(found.mean(0), torch.zeros(128), atol=1e-5)
    assert torch.allclose(found.std(0, correction=0), torch.ones(128), atol=0.01)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_noisy_neurons_are_looked_at_in_units_of_their_noise(images):
    net = build("digits-mlp")
    (_, first), (_, last) = stochastic_layers(net)
    with torch.no_grad():
        # Neurons that are sure of +1 hand on the same signs whatever is drawn.
        first.bias.fill_(1e3)
        expected = last.erf_argument(torch.ones(1, 256))[0]
    assert torch.allclose(preactivations(net, images), expected.expand(50, -1), atol=1e-5)
    with torch.no_grad():
        last.product.weight.mul_(7.0)
        last.bias.mul_(7.0)
    assert torch.allclose(preactivations(net, images), expected.expand(50, -1), atol=1e-5)


def test_convolutions_count_every_position():
    images = torch.rand(2, 1, 28, 28)
    shape = preactivations(build("mnist-cnn", model="twin")[:5], images).shape
    assert shape == (2 * 8 * 8, 64)


def test_the_first_steps_are_those_of_the_run(tmp_path):
    config = digits(model="twin", epochs=2, schedule="constant", lr=1e-3)
    splits = load_splits(config)
    *_, last = (run.net.state_dict() for run in stepped(config, splits))
    trained = train(config, tmp_path, quiet=True).net.state_dict()
    assert all(torch.equal(value, trained[name]) for name, value in last.items())


def test_a_beginning_starts_in_its_own_units():
    config = digits(epochs=3, schedule="constant", lr=3e-3, spread=1.0)
    found = beginning(config, load_splits(config), steps=20, every=5, images=100)
    assert found["step"] == [0, 5, 10, 15, 20]
    assert (found["widening"][0], found["drift"][0]) == (1.0, 0.0)
    assert all(
        low < middle < high for low, middle, high in zip(*(found[f"p{p}"] for p in (15, 50, 85)), strict=True)
    )
    assert min(found["drift"][1:]) > 0.0
    # A calibrated start has a standard deviation of 1.
    assert found["p85"][0] - found["p15"][0] == pytest.approx(2.07, rel=0.2)


def test_infinity_is_raised_between_steps():
    config = digits(model="twin", lr=1e30, schedule="constant", optimizer="sgd")
    with pytest.raises(NotFiniteError):
        list(stepped(config, load_splits(config)))


def test_nothing_is_validated_and_the_images_stay(monkeypatch):
    config = digits(model="twin", epochs=1)
    splits = data.load("digits")
    monkeypatch.setattr("nsm.training.run.validate", None)
    *_, run = stepped(config, splits)
    assert len(run.progress.rows) == 1
    assert isinstance(run.net, nn.Sequential)
    assert len(splits.validation) == 300
