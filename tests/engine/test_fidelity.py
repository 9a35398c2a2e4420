"""A trained network and its program agree: in every neuron's firing frequency, and in error."""

import pytest
import torch

import nsm
from nsm import data, engine, training
from nsm.engine import plain
from nsm.engine.steps import Classifier, First, Pool, Sampled, areas
from tests.statistical.budget import assert_frequencies

SAMPLES = 4000


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The digits network after a few epochs, and the test images."""
    config = training.with_overrides(training.load_recipe("digits"), ["epochs=15"])
    result = training.train(config, tmp_path_factory.mktemp("fidelity") / "run", quiet=True)
    return result.net, data.load("digits").test


def whole_numbers(net):
    """The network with the weights that its program has, in float64."""
    program = nsm.compile(net)
    copy = nsm.models.from_config(net.config).double()
    copy.load_state_dict(net.state_dict())
    products = [module.product for _, module in nsm.nn.stochastic_layers(copy)][1:]
    for product, step in zip(products, program.steps[1:-1], strict=True):
        weights = torch.from_numpy(step.weights).double() * torch.from_numpy(step.scale)[:, None, None, None]
        with torch.no_grad():
            product.weight.copy_(weights.view_as(product.weight))
    return program, copy


def states(program, image, samples, seed):
    """Codes of every stochastic layer of a program, (S, neurons), by its plain form."""
    found, rows = [], torch.arange(samples)
    coordinates = torch.stack((rows, torch.zeros_like(rows)), dim=-1)
    codes = image.view(1, *program.image)
    for step, area in zip(program.steps, areas(program.steps), strict=True):
        assert not isinstance(step, Pool)
        if isinstance(step, Classifier):
            break
        argument = (
            plain._first(step, codes).expand(samples, -1, -1, -1)
            if isinstance(step, First)
            else plain._argument(step, codes, area)
        )
        codes = plain._fired(argument, step.noise, 1, coordinates, seed)
        found.append(codes.flatten(1))
    return found


def test_firing_frequencies_are_those_of_the_law(trained):
    net, images = trained
    program, exact = whole_numbers(net)
    pixels = images.batch(torch.arange(3))[0]
    layers = [layer for _, layer in nsm.nn.stochastic_layers(exact)]
    for index, image in enumerate(pixels):
        drawn = states(program, image, SAMPLES, seed=index)
        # The first layer's law is that of the image; the second's, of each state that the first was drawn in.
        with torch.no_grad():
            first = 0.5 * torch.special.erfc(-layers[0].erf_argument(image.double().view(1, -1)))
            assert_frequencies(drawn[0].gt(0).sum(0), SAMPLES, first.flatten(), slack=5e-5)
            for states_before, states_after, layer in zip(drawn, drawn[1:], layers[1:], strict=False):
                given = 0.5 * torch.special.erfc(-layer.erf_argument(states_before.double() - 1.0))[:, 0]
                z = (states_after.gt(0).sum(0) - given.sum(0)) / (given * (1 - given)).sum(0).sqrt().clamp(
                    min=1.0
                )
                assert z.abs().max() < 5.5


def test_the_program_agrees_with_the_trained_network(trained):
    net, images = trained
    network = nsm.evaluate(net, images, samples=200)
    program = engine.evaluate(nsm.compile(net), images, samples=200)
    assert network.error_percent < 8.0
    assert abs(program.error_percent - network.error_percent) < 1.0
    assert abs(program.nll - network.nll) < 0.02
    difference = program.prediction.probabilities - network.prediction.probabilities
    # Two independent averages of 200 samples differ by some hundredths.
    assert difference.abs().mean() < 0.02
    assert difference.abs().max() < 0.3


@pytest.mark.parametrize("weights", [p for p in engine.PRECISIONS if p != "int8"])
def test_fewer_bits_still_recognise_digits(trained, weights):
    net, images = trained
    program = nsm.compile(net, weights=weights)
    assert engine.evaluate(program, images, samples=50).error_percent < 25.0
    kept = {len(set(step.weights.flatten().tolist())) for step in program.steps if isinstance(step, Sampled)}
    assert max(kept) <= {"int4": 15, "ternary": 3, "binary": 2}[weights]
