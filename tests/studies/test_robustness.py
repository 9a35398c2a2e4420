"""Networks whose weights are changed: which changes a law forgives, and how large they are."""

import copy
import math

import pytest
import torch
from torch import nn

from nsm import data
from nsm.models import build
from nsm.nn import calibrate
from nsm.studies import robustness
from nsm.studies.inside import hidden_layers
from nsm.studies.robustness import changed_weights, common_factors, own_changes


@pytest.fixture(scope="module")
def images():
    return data.load("digits").test


def fresh(model, images):
    net = build("digits-mlp", model=model)
    if model in ("nsm", "stnn"):
        calibrate(net, images.batch(torch.arange(100))[0])
    return net.eval()


@pytest.mark.parametrize("model", ["nsm", "stnn", "twin-wn"])
def test_common_factors_are_one_number_for_each_neuron(model, images):
    net = fresh(model, images)
    other = robustness._changed(net, common_factors(10.0, 0, biases=True))
    for before, after in zip(hidden_layers(net), hidden_layers(other), strict=True):
        ratios = (after.product.weight / before.product.weight).detach()
        factors = ratios.median(1).values
        assert torch.allclose(ratios, factors[:, None], rtol=1e-3)
        assert torch.allclose(after.bias, before.bias * factors, rtol=1e-3, atol=1e-6)
        assert 1.0 <= factors.min() < 1.3
        assert 8.0 < factors.max() <= 10.001
        assert factors.log10().mean() == pytest.approx(0.5, abs=0.1)
    # What was copied is as it was.
    assert torch.equal(
        hidden_layers(net)[0].product.weight, hidden_layers(copy.deepcopy(net))[0].product.weight
    )


def test_own_changes_have_the_size_that_is_asked_for():
    weight = torch.linspace(-1, 1, 60_000).view(100, 600)
    changed, bias = own_changes(0.5, 3)(weight, None, 1)
    assert bias is None
    added = (changed - weight) / weight.std()
    assert added.std() == pytest.approx(0.5, rel=0.02)
    assert added.mean() == pytest.approx(0.0, abs=0.01)
    again = [own_changes(0.5, repeat)(weight, None, layer)[0] for repeat, layer in ((3, 1), (4, 1), (3, 2))]
    assert [torch.equal(changed, other) for other in again] == [True, False, False]


def test_a_sampling_machine_forgives_common_factors_and_additive_noise_does_not(images):
    torch.manual_seed(0)
    rows = {}
    for model in ("nsm", "stnn"):
        changed = changed_weights(fresh(model, images), images, images, samples=4, repeats=1)
        rows[model] = {(row["change"], row["size"]): row["error_percent"] for row in changed}
        assert len(changed) == len(rows[model]) == 1 + 2 * len(robustness.FACTORS) + len(robustness.CHANGES)
    for factor in robustness.FACTORS:
        assert rows["nsm"]["neurons", factor] == rows["nsm"]["none", 1.0]
    assert rows["stnn"]["neurons", 10.0] != rows["stnn"]["none", 1.0]


def test_statistics_taken_anew_undo_common_factors(images):
    net = fresh("twin-bn", images)
    changed = changed_weights(net, images, images, samples=1, repeats=2)
    anew = {
        (row["change"], row["size"]): row["error_percent"] for row in changed if row["statistics"] == "anew"
    }
    assert len(changed) == 2 * len(anew)
    assert anew["weights", 10.0] == anew["none", 1.0]
    assert all(math.isfinite(row["error_percent"]) and row["errors"] for row in changed)
    assert all(module.momentum == 0.1 for module in net.modules() if isinstance(module, nn.BatchNorm1d))


def test_the_variance_of_additive_noise_does_not_follow_the_weights(images):
    torch.manual_seed(0)
    signs = torch.randn(40, 256).sign()
    nsm, stnn = (list(hidden) for hidden in (build("digits-mlp"), build("digits-mlp", model="stnn")))
    layers = {"nsm": nsm[2], "stnn": stnn[2]}
    start = {name: float(layer.variance(signs).detach().mean()) for name, layer in layers.items()}
    assert start["stnn"] == pytest.approx(start["nsm"], rel=0.02)
    for layer in layers.values():
        with torch.no_grad():
            layer.product.weight.mul_(10.0)
    assert float(layers["nsm"].variance(signs).detach().mean()) == pytest.approx(
        100.0 * start["nsm"], rel=1e-4
    )
    assert float(layers["stnn"].variance(signs).detach().mean()) == pytest.approx(start["stnn"], rel=2e-3)
