"""Programs of populations: the law of the networks of single neurons that they are."""

import pytest
import torch
from torch import nn

import nsm
from nsm import engine
from nsm.engine import CompileError
from nsm.engine.steps import First, Sampled
from nsm.nn import Conv2d, Linear, Residual, StochasticLayer
from tests.engine.nets import images, made


def repeated(values, copies, dim):
    return values.detach().repeat_interleave(copies, dim=dim)


def wide_layer(layer, copies):
    """A layer of single neurons, K for each place of ``layer``, with synapses from the ``copies`` neurons of
    each input."""
    product, size = layer.product, layer.population
    weight = layer.weight.detach()
    if isinstance(layer, Linear) and copies > 1:
        # Flattened images: every channel's neurons lie side by side.
        weight = weight.view(len(weight), 6, -1)
    weight = repeated(weight, copies, 1) / copies
    weight = repeated(weight.flatten(1) if isinstance(layer, Linear) else weight, size, 0)
    if isinstance(layer, Conv2d):
        plain = nn.Conv2d(weight.shape[1], len(weight), product.kernel_size, padding=product.padding)
    else:
        plain = nn.Linear(weight.shape[1], len(weight))
    wide = type(layer).from_product(
        plain,
        noise=layer.noise,
        eta=layer.eta,
        binary_input=layer.binary_input,
        pooled=layer.pooled // copies,
    )
    if isinstance(layer, Conv2d):
        wide.max_pool = layer.max_pool
    gain, biases = layer.neurons()
    plain.weight.data = weight
    wide.adopt(repeated(gain, size, 0), torch.stack(biases, 1).flatten().detach())
    return wide


def widened(net):
    modules, copies = [], 1
    for module in net:
        layer = module.layer if isinstance(module, Residual) else module
        if isinstance(layer, StochasticLayer):
            wide = wide_layer(layer, copies)
            modules.append(Residual(wide) if isinstance(module, Residual) else wide)
            copies = layer.population
        else:
            modules.append(module)
    *before, norm, classifier = modules
    folded = nn.BatchNorm1d(norm.num_features * copies)
    for name, values in norm.state_dict().items():
        folded.state_dict()[name].copy_(values.repeat_interleave(copies) if values.dim() else values)
    top = nn.Linear(classifier.in_features * copies, classifier.out_features)
    top.weight.data, top.bias = repeated(classifier.weight, copies, 1) / copies, classifier.bias
    return nn.Sequential(*before, folded, top).eval()


def test_a_population_is_a_network_of_as_many_neurons():
    net, shape = made("population")
    wide, x = widened(net), images("population", 6)
    with torch.no_grad(), nsm.fidelity("mean"):
        torch.testing.assert_close(wide(x), net(x), atol=2e-5, rtol=0)
    found, expected = (nsm.compile(each, image=shape) for each in (net, wide))
    network = nsm.predict(net, x, samples=4000, seed=1).probabilities
    for program in (found, expected):
        probabilities = program.predict(x, samples=4000, seed=1).probabilities
        torch.testing.assert_close(probabilities, network, atol=0.03, rtol=0)
    # So many neurons of a place that are pooled have a place each, others share one.
    neurons = [step.geometry.neurons for step in found.steps if isinstance(step, First | Sampled)]
    assert neurons == [100, 100, 6, 9]
    assert [step.population for step in found.steps if isinstance(step, First | Sampled)] == [1, 1, 2, 4]
    assert engine.count(found).multiplications < engine.count(expected).multiplications


ALONE = Conv2d(2, 3, 1, population=2, max_pool=3)  # no number decides so many neurons
SHARED = Conv2d(2, 3, 1, population=2)
AVERAGED = [nn.AvgPool2d(8), nn.Flatten()]


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (
            [ALONE, Conv2d(3, 4, 1, binary_input=True)],
            r"1 \(Conv2d\) .* averages over populations of 2: its pooled must be a multiple of that, got 1$",
        ),
        ([ALONE, Conv2d(3, 4, 1)], r"1 \(Conv2d\) .* multiple of that, got 1 and binary_input=False$"),
        (
            [ALONE, nn.AvgPool2d(2), Conv2d(3, 4, 1)],
            r"2 \(Conv2d\) .* multiple of that, got 1 and binary_input=False$",
        ),
        ([ALONE, nn.MaxPool2d(2)], r"1 \(MaxPool2d\) .* maxima of averages over neurons that share no sums"),
        (
            [ALONE, Residual(Conv2d(3, 3, 1, binary_input=True, pooled=2))],
            r"1 \(Residual\) .* population must be that of what it receives, 2, got 1",
        ),
        (
            [ALONE, Residual(Conv2d(3, 3, 1, binary_input=True, population=2))],
            r"1 \(Residual\) .* averages of 1 signs, but they are of 2",
        ),
        (
            [SHARED, Conv2d(3, 4, 1)],
            r"1 \(Conv2d\) .* hears populations of 2: its binary_input must be True$",
        ),
        (
            [SHARED, Residual(Conv2d(3, 3, 1, binary_input=True))],
            r"1 \(Residual\) .* averages of 1 signs, but they are of 2",
        ),
        (
            [SHARED, Residual(Conv2d(3, 3, 1, binary_input=True, pooled=2, population=63))],
            r"1 \(Residual\) .* population must be that of what it receives, 1, got 63",
        ),
        (
            [SHARED, *AVERAGED, Linear(3, 2, binary_input=True, pooled=128)],
            r"3 \(Linear\) .* averages over more than 64 neurons: only the classifier can",
        ),
        ([SHARED, Conv2d(4, 4, 1, binary_input=True, pooled=2)], r"takes 4 channels and would receive 3"),
        ([SHARED, nn.Flatten(), nn.Linear(7, 2)], r"2 \(Linear\) .* takes 7 inputs and would receive 192"),
    ],
)
def test_what_cannot_hear_a_population_is_named(modules, message):
    with pytest.raises(CompileError, match=message):
        nsm.compile(nn.Sequential(*modules), image=(2, 8, 8))


def test_a_layer_may_take_averages_over_populations_for_what_they_are():
    torch.manual_seed(1)
    net = nn.Sequential(
        SHARED,
        Conv2d(3, 5, 3, binary_input=True, population=3),
        *[nn.AvgPool2d(6), nn.Flatten(), nn.Linear(5, 3)],
    )
    x = torch.rand(3, 2, 8, 8)
    program = nsm.compile(net, image=(2, 8, 8))
    assert [step.pooled for step in program.steps if isinstance(step, Sampled)] == [1]
    found, expected = (
        each.probabilities
        for each in (program.predict(x, samples=4000, seed=1), nsm.predict(net, x, samples=4000, seed=1))
    )
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0)
