"""A network that follows its trained twin knows what the twin knows, as far as signs can carry it."""

import pytest
import torch
from torch import Tensor, nn

import nsm
from nsm import data, models, training

SHALLOW = ("digits-mlp", "mnist-cnn", "nmnist-cnn")
DEEP = ("cifar10-allconv-third", "cifar10-residual")


@pytest.fixture(scope="module")
def digits_twin(tmp_path_factory):
    config = training.with_overrides(
        training.load_recipe("digits"), ["model=twin", "epochs=20", "validation=300"]
    )
    return training.train(config, tmp_path_factory.mktemp("twin") / "run", quiet=True)


def pair(name: str, model: models.Model) -> tuple[models.Network, models.Network, Tensor]:
    torch.manual_seed(2)
    twin = models.build(name, model=model)
    x = torch.rand(6, *twin.image)
    with torch.no_grad():
        twin.train()(torch.rand(20, *twin.image))  # statistics of batch normalization
    return models.build(name), twin.eval(), x


@pytest.mark.parametrize(
    ("name", "model"),
    [(name, model) for name in SHALLOW for model in ("twin", "twin-wn", "twin-dropout")]
    + [(name, "twin-bn") for name in DEEP],
)
def test_every_published_network_follows_its_twins(name, model):
    net, twin, x = pair(name, model)
    fresh = {key: value.clone() for key, value in net.state_dict().items()}
    kept = {key: value.clone() for key, value in twin.state_dict().items()}
    assert models.can_follow(net, twin)
    models.follow(net, twin, x, seed=0)
    assert all(torch.equal(value, kept[key]) for key, value in twin.state_dict().items())
    changed = [key for key, value in net.state_dict().items() if not torch.equal(value, fresh[key])]
    layers = [name for name, _ in nsm.nn.stochastic_layers(net)]
    assert {f"{layer}.product.weight" for layer in layers} <= set(changed)
    assert all(value.isfinite().all() for value in net.state_dict().values())


def test_real_layers_in_front_are_the_twins():
    net, twin, x = pair("cifar10-allconv-third", "twin-bn")
    models.follow(net, twin, x, seed=0)
    assert isinstance(net[1], nn.Conv2d)
    torch.testing.assert_close(net[:3].eval()(x), twin[:3](x), rtol=0, atol=0)


def test_a_run_starts_with_what_the_twin_knows(digits_twin, tmp_path):
    images = data.load("digits", validation=300)
    start = f"start={digits_twin.folder}"
    config = training.with_overrides(training.load_recipe("digits"), [start, "validation=300"])
    net = training.fresh_network(config, images.train)
    again = training.fresh_network(config, images.train)
    for one, other in zip(net.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert nsm.evaluate(net.eval(), images.validation, samples=50, seed=1).error_percent < 20.0
    other_seed = training.with_overrides(config, ["training.seed=1", "epochs=1"])
    result = training.train(other_seed, tmp_path / "run", quiet=True)
    assert result.metrics[0].train_error_percent < 20.0


@pytest.mark.parametrize(
    ("options", "twin"),
    [
        ({"centered": True}, {"model": "twin", "centered": True}),
        ({"binarize": True}, {"model": "twin"}),
        ({"model": "bd"}, {"model": "twin"}),
        ({}, {"model": "sn"}),
        ({}, {"model": "nsm"}),
    ],
)
def test_nothing_else_is_followed(options, twin):
    net, other = models.build("digits-mlp", **options), models.build("digits-mlp", **twin)
    assert not models.can_follow(net, other)
    with pytest.raises(ValueError, match="twin must be the rectified twin of a stochastic net"):
        models.follow(net, other, torch.rand(4, 1, 8, 8), seed=0)


def test_a_batch_of_one_input_or_of_no_numbers_is_refused():
    net, twin = models.build("digits-mlp"), models.build("digits-mlp", model="twin")
    with pytest.raises(ValueError, match=r"batch must have shape .* with B >= 2"):
        models.follow(net, twin, torch.rand(1, 1, 8, 8), seed=0)
    with pytest.raises(ValueError, match="batch must"):
        models.follow(net, twin, torch.full((4, 1, 8, 8), torch.nan), seed=0)
