"""Programs whose every synapse is drawn: the exact law, what is refused, what it costs."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import nsm
from nsm.engine import CompileError, Program, plain
from nsm.engine.steps import Sampled
from tests.engine.nets import compiled, images
from tests.statistical.budget import assert_frequencies

SAMPLES = 3000


def fires(weights, gain, bias, p, z):
    """P(sum_j (xi_j + a) w_j z_j + b >= 0), over all masks, a the sure part of the gain: (neurons,)."""
    found = torch.zeros(len(weights), dtype=torch.float64)
    for mask in itertools.product((0.0, 1.0), repeat=weights.shape[1]):
        xi = torch.tensor(mask, dtype=torch.float64)
        u = ((xi + (gain - p)[:, None]) * weights * z).sum(1) + bias
        sent = int(xi.sum())
        found += (u >= 0) * p**sent * (1.0 - p) ** (len(xi) - sent)
    return found


@pytest.mark.parametrize("p", [0.5, 0.2, 0.9])
def test_neurons_fire_by_the_exact_law(p):
    torch.manual_seed(1)
    noise = nsm.Bernoulli(p)
    net = nn.Sequential(
        nsm.nn.Linear(7, 40, noise=noise), nsm.nn.Linear(40, 36, noise=noise), nn.Linear(36, 3)
    )
    with torch.no_grad():
        for _, layer in nsm.nn.stochastic_layers(net):
            layer.bias.normal_(std=0.2)
    program = nsm.compile(net, fidelity="synapse")
    x = torch.tensor([0.9, 0.0, 0.3, 0.7, 0.2, 0.5, 1.0])
    first, second, _ = program.steps
    rows = torch.stack((torch.arange(SAMPLES), torch.zeros(SAMPLES, dtype=torch.int64)), dim=-1)
    fired = plain._with_synapses(first, x.view(1, 7, 1, 1).expand(SAMPLES, -1, -1, -1), 1, rows, 5)
    gain, bias = (torch.from_numpy(v).double() for v in (first.noise.gain, first.noise.bias))
    weights = torch.from_numpy(first.weights).double().flatten(1)
    probability = fires(weights, gain, bias, p, x.double())
    assert_frequencies((fired > 0).sum(0).flatten(), SAMPLES, probability, slack=1e-4)
    moments = (weights * x).mul(gain[:, None]).sum(1) + bias
    deviation = (p * (1 - p) * (weights * x).square().sum(1)).sqrt()
    normal = torch.special.ndtr(moments / deviation)
    assert (normal - probability).abs().max() > 0.02  # where two moments would not do

    # Of the second layer, whose fan-in is too large for all masks, by one that is not.
    few = torch.zeros_like(weights[:1]).new_zeros(36, 40)
    few[:, :9] = torch.from_numpy(second.weights[:, :9, 0, 0]).double()
    narrow = replace(second, weights=few.numpy().astype("int8").reshape(36, 40, 1, 1))
    codes = torch.zeros(SAMPLES, 40, 1, 1, dtype=torch.int64)
    codes[:, ::2] = 2
    fired = plain._with_synapses(narrow, codes, 1, rows, 6)
    scaled = few[:, :9] * torch.from_numpy(second.scale).double()[:, None]
    gain, bias = (torch.from_numpy(v).double() for v in (second.noise.gain, second.noise.bias))
    z = torch.tensor([1.0, -1.0] * 5, dtype=torch.float64)[:9]
    assert_frequencies((fired > 0).sum(0).flatten(), SAMPLES, fires(scaled, gain, bias, p, z), slack=1e-4)


def test_the_law_is_chosen_layer_by_layer_or_for_all():
    net = nn.Sequential(
        nsm.nn.Linear(6, 5, fidelity="synapse"), nsm.nn.Linear(5, 4, binary_input=True), nn.Linear(4, 2)
    )
    transmissions = [
        [step.noise.transmission for step in nsm.compile(net, fidelity=fidelity).steps[:2]]
        for fidelity in (None, "moment", "synapse")
    ]
    assert transmissions == [[0.5, 0.0], [0.0, 0.0], [0.5, 0.5]]


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"noise": nsm.Gaussian(0.5)}, r'0 \(Linear\) .* at fidelity "synapse" its noise must be Bernoulli'),
        ({"eta": 0.1}, "step 0: additive must be 0 where every synapse is drawn, got 0.01"),
        ({"noise": nsm.Bernoulli(1e-6)}, r"step 0: a synapse must transmit with p in \[2\^-16, 1 - 2\^-16\]"),
    ],
)
def test_what_cannot_be_drawn_is_named(layer, message):
    net = nn.Sequential(nsm.nn.Linear(6, 5, **layer), nn.Linear(5, 2))
    with pytest.raises(CompileError, match=message):
        nsm.compile(net, fidelity="synapse")


def test_synapses_on_the_signs_of_an_average_are_refused():
    net = nn.Sequential(
        nsm.nn.Conv2d(1, 3, 3),
        nn.AvgPool2d(2),
        nsm.nn.Conv2d(3, 4, 1, binary_input=True, pooled=4),
        nn.Flatten(),
        nn.Linear(16, 2),
    )
    with pytest.raises(CompileError, match="step 2: synapses on single signs of an average cannot be drawn"):
        nsm.compile(net, fidelity="synapse", image=(1, 6, 6))


def test_an_unknown_fidelity_is_refused():
    with pytest.raises(ValueError, match="fidelity must be one of moment, synapse or None, got 'unit'"):
        nsm.compile(nn.Linear(3, 2), fidelity="unit")


def test_more_synapses_than_numbers_are_refused():
    first, *rest = compiled("synapses").steps
    wide = replace(first.geometry, inputs=(2, 720, 720), kernel=(40, 40))
    broken = replace(first, geometry=wide, weights=np.zeros(wide.weight_shape, np.float32))
    with pytest.raises(ValueError, match=r"step 0: at most 1073741824 groups of 32 synapses can be drawn"):
        Program((broken, *rest), vector=False)


@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_inputs_whose_sums_overflow_are_refused(monkeypatch, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    program = compiled("synapses")
    x = images("synapses", 3)
    x[1] = 3e38
    with pytest.raises(ValueError, match="input 1 is too large: the first layer overflows"):
        program.predict(x, samples=4)


def test_every_synapse_costs_a_draw():
    program, drawn = (nsm.compile(nsm.models.build("digits-mlp"), fidelity=f) for f in ("moment", "synapse"))
    before, after = (nsm.engine.count(p) for p in (program, drawn))
    synapses = sum(step.weights.size for step in program.steps[:-1])
    classifier = program.steps[-1].weights.size
    assert after.draws == synapses
    assert after.first == 0
    assert after.multiplications == program.steps[0].weights.size
    assert after.additions - classifier == 2 * (before.additions - classifier)
    assert isinstance(drawn.steps[1], Sampled)
