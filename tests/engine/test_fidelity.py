"""A trained network and its program agree: in every neuron's firing frequency, and in error."""

import copy
import math

import pytest
import torch

import nsm
from nsm import data, engine, training
from nsm.engine import plain
from nsm.engine.chain import chain
from nsm.engine.steps import Classifier, First, Pool, Real, Sampled, areas, is_residual
from tests.engine.nets import images, made
from tests.statistical.budget import assert_frequencies

SAMPLES = 4000


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The digits network after a few epochs, and the test images."""
    config = training.with_overrides(training.load_recipe("digits"), ["epochs=15"])
    result = training.train(config, tmp_path_factory.mktemp("fidelity") / "run", quiet=True)
    return result.net, data.load("digits").test


def whole_numbers(net, image):
    """The program of a network, and the network with the weights that its program has, in float64."""
    program = nsm.compile(net, image=image)
    exact = copy.deepcopy(net).double()
    products = [module.product for _, module in nsm.nn.stochastic_layers(exact)][1:]
    steps = [step for step in program.steps if isinstance(step, Sampled)]
    for product, step in zip(products, steps, strict=True):
        weights = torch.from_numpy(step.weights).double() * torch.from_numpy(step.scale)[:, None, None, None]
        with torch.no_grad():
            product.weight.copy_(weights.view_as(product.weight))
    return program, exact


def receives(net, image, samples):
    """What every stochastic layer of a network receives and gives when the network runs as a program: its
    samples by the plain form, as (layer, z before, z behind), (S, channels, height, width) each.
    """
    program, exact = whole_numbers(net, tuple(image.shape) if image.dim() == 3 else None)
    layers = iter(layer for _, layer in nsm.nn.stochastic_layers(exact))
    rows = torch.stack((torch.arange(samples), torch.zeros(samples, dtype=torch.int64)), dim=-1)
    codes, found = image.view(1, *program.image), []
    in_front = image[None].double()
    for _, module in chain(exact):
        if isinstance(module, nsm.nn.StochasticLayer):
            break
        in_front = module(in_front)
    for step, area in zip(program.steps, areas(program.steps), strict=True):
        if isinstance(step, Classifier):
            break
        if isinstance(step, Pool):
            codes = plain._pooled(step, codes)
            continue
        if isinstance(step, Real):
            codes = plain._real(step, codes)
            continue
        layer = next(layers)
        if isinstance(step, First):
            before = in_front
            argument = plain._first(step, codes).expand(samples, -1, -1, -1, -1)
        else:
            before = (codes.double() - area) / area
            argument = plain._argument(step, codes, area)
        fired = plain._fired(argument, step, rows, 5)
        found.append((layer, before, fired.double() / step.population - 1.0))
        codes = codes + fired if is_residual(step) else fired
    return found


def assert_the_law_of(layer, before, behind):
    """Every neuron (or maximum of some) is positive as often as the layer's law says of what it got."""
    if isinstance(layer, nsm.nn.Linear):
        before, behind = before.flatten(1), behind.flatten(1)
    # At fidelity "mean" a layer gives E[z], of maxima too, for real inputs as for signs.
    with torch.no_grad(), nsm.fidelity("mean"):
        given = (0.5 + 0.5 * layer(before)).expand(len(behind), *behind.shape[1:])
    if len(before) == 1:
        slack = 5e-5 * math.prod(getattr(layer, "max_pool", (1,)))
        assert_frequencies(behind.gt(0).sum(0), len(behind), given[0], slack=slack)
        return
    # A law that differs from sample to sample.
    deviation = (given * (1 - given)).sum(0).sqrt().clamp(min=1.0)
    assert ((behind.gt(0).sum(0) - given.sum(0)) / deviation).abs().max() < 5.5


def test_firing_frequencies_are_those_of_the_law(trained):
    net, digits = trained
    for image in digits.batch(torch.arange(3))[0]:
        found = receives(net, image, SAMPLES)
        assert len(found) == 2
        for layer, before, behind in found:
            assert_the_law_of(layer, before, behind)


def counts_of(probabilities):
    """Distribution of how many of K independent neurons are positive, (K + 1, ...) of (K, ...)."""
    found = torch.ones(1, *probabilities.shape[1:], dtype=probabilities.dtype)
    for p in probabilities:
        silent = torch.cat([found * (1 - p), torch.zeros_like(found[:1])])
        found = silent + torch.cat([torch.zeros_like(found[:1]), found * p])
    return found


def positive_windows(layer, before):
    """P(max = 1) over the windows of each neuron of a population, (K, N, windows, C)."""
    with torch.no_grad():
        silent = 0.5 - 0.5 * torch.erf(layer.erf_argument(before))
        sides = layer.product(before).shape[2:]
    down, across = layer.max_pool or (1, 1)
    parts = silent.unflatten(2, sides).unfold(2, down, down).unfold(3, across, across)
    return 1 - parts.flatten(-2).prod(-1).flatten(2, 3)


def test_neurons_of_a_population_fire_by_their_own_law_and_independently():
    samples = SAMPLES // 4  # the network is large
    net, _ = made("shared")
    (image,) = images("shared", 1)
    found = receives(net, image, samples)
    assert len(found) == len(list(nsm.nn.stochastic_layers(net)))
    for layer, before, behind in found:
        positive = positive_windows(layer, before)  # (K, N, P, C)
        count = (behind.flatten(2).transpose(1, 2) + 1) * (layer.population / 2)
        expected = positive.sum(0)
        if len(before) == 1:
            outcomes = torch.arange(layer.population + 1)[:, None, None, None]
            frequencies = (count.round() == outcomes).sum(1)
            assert_frequencies(frequencies, samples, counts_of(positive)[:, 0], slack=5e-5 * layer.population)
        deviation = (positive * (1 - positive)).sum((0, 1)) * (samples / len(before))
        difference = (count - expected).sum(0)
        assert (difference / deviation.sqrt().clamp(min=1.0)).abs().max() < 5.5


@pytest.mark.parametrize("name", ["maximum", "pooled", "averaged", "padded", "features", "stem", "strided"])
def test_firing_frequencies_of_convolutions_are_those_of_the_law(name):
    net, _ = made(name)
    (image,) = images(name, 1)
    found = receives(net, image, SAMPLES)
    assert len(found) == len(list(nsm.nn.stochastic_layers(net)))
    for layer, before, behind in found:
        assert_the_law_of(layer, before, behind)


def test_the_program_agrees_with_the_trained_network(trained):
    net, digits = trained
    network = nsm.evaluate(net, digits, samples=200)
    program = engine.evaluate(nsm.compile(net), digits, samples=200)
    assert network.error_percent < 8.0
    assert abs(program.error_percent - network.error_percent) < 1.0
    assert abs(program.nll - network.nll) < 0.02
    difference = program.prediction.probabilities - network.prediction.probabilities
    # Two independent averages of 200 samples differ by some hundredths.
    assert difference.abs().mean() < 0.02
    assert difference.abs().max() < 0.3


@pytest.mark.parametrize("weights", [p for p in engine.PRECISIONS if p != "int8"])
def test_fewer_bits_still_recognise_digits(trained, weights):
    net, digits = trained
    program = nsm.compile(net, weights=weights)
    assert engine.evaluate(program, digits, samples=50).error_percent < 25.0
    kept = {len(set(step.weights.flatten().tolist())) for step in program.steps if isinstance(step, Sampled)}
    assert max(kept) <= {"int4": 15, "ternary": 3, "binary": 2}[weights]
