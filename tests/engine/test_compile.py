"""What can be compiled, what cannot, and what is said about it."""

import itertools
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import nsm
from nsm.engine import CompileError
from nsm.engine.arguments import correlate
from nsm.engine.steps import Geometry
from nsm.models import ARCHITECTURES
from tests.engine.nets import NETS, compiled, images, made


@pytest.mark.parametrize("name", NETS)
def test_a_program_predicts_as_its_network_does(name):
    net, _ = made(name)
    x = images(name, 4)
    program, network = (
        predicted.probabilities
        for predicted in (compiled(name).predict(x, samples=2000), nsm.predict(net, x, samples=2000))
    )
    # Weights of 8 bits, and 2000 samples on either side.
    torch.testing.assert_close(program, network, atol=0.04, rtol=0)


def test_the_network_is_left_as_it_was():
    net, shape = made("averaged")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    nsm.compile(net, image=shape)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def linear(width=4, **options):
    return nsm.nn.Linear(width, width, **options)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([nn.ReLU(), linear(), nn.Linear(4, 2)], r"0 \(ReLU\) .* must stand behind a deterministic layer"),
        ([linear(), nn.ReLU(), nn.Linear(4, 2)], r"1 \(ReLU\) .* behind its first stochastic layer"),
        ([nn.Linear(4, 4), nn.Tanh(), linear(), nn.Linear(4, 2)], r"1 \(Tanh\) .* in front of its first"),
        ([nn.Linear(4, 4), nsm.nn.Binarize(), linear()], r"1 \(Binarize\) .* must be the first module"),
        (
            [linear(fidelity="unit"), nn.Linear(4, 2)],
            r'0 \(Linear\) .* fidelity must be "moment" or "synapse", got "unit"',
        ),
        ([nsm.nn.Conv1d(1, 2, 2), nn.Linear(4, 2)], r"0 \(Conv1d\) .* Linear and Conv2d can be compiled"),
        ([linear(), linear(3), nn.Linear(3, 2)], r"1 \(Linear\) .* takes 3 inputs and would receive 4"),
        ([linear(), nn.Linear(4, 2), nn.Linear(2, 2)], r"2 \(Linear\) .* behind the classifier"),
        ([linear(), nsm.nn.Binarize(), nn.Linear(4, 2)], r"1 \(Binarize\) .* behind its first stochastic"),
        (
            [nn.Linear(4, 2)],
            "must begin with a stochastic layer, real ones and maxima in front of it or none",
        ),
        ([linear()], "and end in a linear classifier"),
        ([linear(), nn.Sequential(nn.Tanh()), nn.Linear(4, 2)], r"1\.0 \(Tanh\) cannot be compiled"),
    ],
)
def test_what_cannot_be_compiled_is_named(modules, message):
    with pytest.raises(CompileError, match=message):
        nsm.compile(nn.Sequential(*modules), image=(4, 1, 1))


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (
            [linear(), nn.BatchNorm1d(4), linear(), nn.Linear(4, 2)],
            r"2 \(Linear\) .* behind a batch normalization of neurons only the classifier can stand",
        ),
        (
            [linear(), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2)],
            r"1 \(BatchNorm1d\) .* must keep running statistics",
        ),
        ([linear(), nn.BatchNorm1d(3), nn.Linear(4, 2)], r"takes 3 features and would receive 4"),
    ],
)
def test_a_normalization_that_cannot_be_compiled_is_named(modules, message):
    with pytest.raises(CompileError, match=message):
        nsm.compile(nn.Sequential(*modules))


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([nsm.nn.Binarize(), nn.MaxPool2d(2)], r"1 \(MaxPool2d\) .* signs of inputs go to a layer"),
        ([nn.Conv2d(3, 3, 3)], r"0 \(Conv2d\) .* takes 3 channels and would receive 2"),
        ([nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")], r"0 \(Conv2d\) .* got \"circular\""),
        ([nn.Flatten(), nn.BatchNorm1d(128)], r"1 \(BatchNorm1d\) .* must normalize channels"),
        ([nn.BatchNorm1d(2)], r"0 \(BatchNorm1d\) .* receives images"),
        ([nn.Flatten(), nn.BatchNorm2d(2)], r"1 \(BatchNorm2d\) .* receives a flat vector"),
        ([nsm.nn.Conv2d(2, 3, 3), nn.MaxPool2d(2, padding=1)], r"1 \(MaxPool2d\) .* padding=0"),
        ([nsm.nn.Conv2d(2, 3, 3), nn.MaxPool2d(2, dilation=2)], r"1 \(MaxPool2d\) .* dilation=1"),
        ([nsm.nn.Conv2d(2, 3, 3), nn.AvgPool2d(9)], r"1 \(AvgPool2d\) .* kernel \(9, 9\) must fit"),
        (
            [nsm.nn.Conv2d(2, 3, 3), nn.AvgPool2d(2, divisor_override=3)],
            r"1 \(AvgPool2d\) .* divisor",
        ),
        ([nsm.nn.Conv2d(2, 3, 3), linear(3)], r"1 \(Linear\) .* needs a Flatten"),
        ([nsm.nn.Conv2d(1, 3, 3)], r"0 \(Conv2d\) .* takes 1 channels and would receive 2"),
        (
            [nsm.nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect")],
            r'padding_mode must be "zeros", got "reflect"',
        ),
        (
            [nsm.nn.Conv2d(2, 3, 3), nn.AvgPool2d(5), nsm.nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(4, 2)],
            "step 2: a layer whose variance depends on its inputs takes averages of at most 22 .*got 25",
        ),
        (
            [nsm.nn.Conv2d(2, 3, 3, binary_input=True, pooled=4)],
            r"0 \(Conv2d\) .* its inputs are averages",
        ),
        ([nsm.nn.Conv2d(2, 3, 3, max_pool=7)], r"0 \(Conv2d\) .* kernel \(7, 7\) must fit"),
    ],
)
def test_what_an_image_cannot_go_through_is_named(modules, message):
    with pytest.raises(CompileError, match=message):
        nsm.compile(nn.Sequential(*modules), image=(2, 8, 8))


def test_standardized_layers_are_compiled_as_they_are_in_evaluation():
    torch.manual_seed(0)

    def layers(*, standardized):
        first = nsm.nn.Linear(8, 20, standardized=standardized)
        return first, nsm.nn.Linear(20, 30, binary_input=True, standardized=standardized)

    counted, plain, classifier = layers(standardized=True), layers(standardized=False), nn.Linear(30, 4)
    nets = [nn.Sequential(*hidden, classifier) for hidden in (counted, plain)]
    nets[0].train()(torch.rand(50, 8))
    for source, layer in zip(counted, plain, strict=True):
        gain, biases = source.neurons()
        layer.product.weight = source.product.weight
        layer.adopt(gain, biases[0])
    x = torch.rand(9, 8)
    found, expected = (nsm.compile(net).predict(x, samples=50, seed=3).probabilities for net in nets)
    assert torch.equal(found, expected)


def test_broken_weights_are_named():
    net = nn.Sequential(nn.BatchNorm1d(4), linear(), nn.Linear(4, 2))
    with torch.no_grad():
        net[1].product.weight[1, 2] = torch.nan
    with pytest.raises(CompileError, match=r"1 \(Linear\) .* not finite"):
        nsm.compile(net)
    net[0].running_var[2] = torch.inf
    net[0].bias.data[1] = torch.nan
    with pytest.raises(CompileError, match=r"0 \(BatchNorm1d\) .* not finite"):
        nsm.compile(net)


def test_normalization_costs_no_step_beside_a_layer():
    program = compiled("stem")
    kinds = [type(step).__name__ for step in program.steps]
    # The image's own normalization has a padded convolution behind it.
    assert kinds == ["Real", "Real", "First", "Sampled", "Sampled", "Sampled", "Pool", "Classifier"]
    assert [step.geometry.groups for step in program.steps[:2]] == [3, 1]
    first = 3 * 120 + 6 * 27 * 120 + 2 * 10 * 54 * 120
    assert nsm.engine.count(program).first == first


@pytest.mark.parametrize("name", ["cifar10-allconv", "cifar100-allconv", "dvsgesture-allconv", "nmnist-cnn"])
def test_published_networks_compile(name):
    net = nsm.models.build(name).eval()
    x = torch.rand(1, *net.image, generator=torch.Generator().manual_seed(0))
    program = nsm.compile(net)
    assert program.image == net.image
    predicted = program.predict(x, samples=8).probabilities
    assert predicted.shape == (1, program.classes)
    torch.testing.assert_close(predicted.sum(), torch.tensor(1.0))


@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_inputs_that_overflow_in_front_are_refused(monkeypatch, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    net = nn.Sequential(nn.Linear(2, 2, bias=False), linear(2), nn.Linear(2, 2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[3e38, 3e38], [0.0, 1.0]]))
    with pytest.raises(ValueError, match="input 1 is too large: the first layer overflows"):
        nsm.compile(net).predict(torch.tensor([[0.0, 0.0], [2.0, 2.0]]))


@pytest.mark.parametrize("kernels", ["native", "off"])
@pytest.mark.parametrize("name", ["averaged", "pooled", "vectors"])
def test_inputs_whose_squares_overflow_are_refused(monkeypatch, kernels, name):
    if kernels == "off":
        monkeypatch.setenv("NSM_KERNELS", "off")
    program, x = compiled(name), images(name, 2)
    x[1] = 1e20
    with pytest.raises(ValueError, match="input 1 is too large: the first layer overflows"):
        program.predict(x, samples=4)
    program.predict(x.clamp(max=1e15), samples=4)


def test_programs_that_would_take_gigabytes_to_run_are_refused():
    net = nn.Sequential(nsm.nn.Conv2d(1, 1, 1), nn.MaxPool2d(1024), nn.Flatten(), nn.Linear(1, 2))
    with pytest.raises(ValueError, match="at most 16777216 neurons, in panels of 32, got 33554432"):
        nsm.compile(net, image=(1, 1024, 1024))
    layers = [nsm.nn.Conv2d(8, 8, 1) for _ in range(40)]
    deep = nn.Sequential(*layers, nn.MaxPool2d(256), nn.Flatten(), nn.Linear(8, 2))
    with pytest.raises(ValueError, match="all steps together must receive at most 16777216 values"):
        nsm.compile(deep, image=(8, 256, 256))


def test_programs_of_too_many_thresholds_are_refused():
    # Few weights, but every position's field overlaps the padding in its own way, and a group fills a panel.
    depthwise = nsm.nn.Conv2d(18, 18, 43, padding=21, groups=18, binary_input=True, population=64)
    net = nn.Sequential(nsm.nn.Conv2d(1, 18, 1), depthwise, nn.Flatten(), nn.Linear(18 * 22**2, 2))
    with pytest.raises(ValueError, match=r"16777216 thresholds, in panels of 32 .*, got 17842176"):
        nsm.compile(net, image=(1, 22, 22))


@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (2, 0, 1, 3), (4, 3, 4, 3), (9, 1, 0, 8)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
def test_overlaps_with_the_padding_are_counted(padding, stride, dilation):
    geometry = Geometry((1, 7, 6), 1, (3, 4), stride, padding, dilation)
    # Sums that tell every subset of a field from every other.
    field = 2.0 ** torch.arange(12, dtype=torch.float64).reshape(1, 1, 3, 4)
    sums = correlate(torch.ones(1, 1, 7, 6, dtype=torch.float64), field, geometry)[0, 0]
    rows, columns = (sums.unique(dim=dim).shape[dim] for dim in (0, 1))
    assert rows <= geometry.overlaps[0] <= sums.shape[0]
    assert columns <= geometry.overlaps[1] <= sums.shape[1]
    if not any(padding):
        assert geometry.overlaps == (1, 1)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_populations_of_every_network_of_the_library_have_few_enough_thresholds(name):
    program = nsm.compile(nsm.models.build(name, model="nsm", population=8).eval())
    assert program.classes == ARCHITECTURES[name].classes


def test_arguments_of_compile():
    with pytest.raises(TypeError, match=r"net must be a torch\.nn\.Module, got int"):
        nsm.compile(3)
    net = nn.Sequential(nsm.nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(108, 2))
    with pytest.raises(ValueError, match="image must be given"):
        nsm.compile(net)
    with pytest.raises(ValueError, match=r"image must be three positive numbers, .* got \(2, 8\)"):
        nsm.compile(net, image=(2, 8))
    with pytest.raises(ValueError, match="weights must be one of int8, int4, ternary, binary, got 'int2'"):
        nsm.compile(net, image=(2, 8, 8), weights="int2")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"x": torch.zeros(2, 20, dtype=torch.float64)},
            TypeError,
            r"x must be a float32 tensor .* got torch\.float64",
        ),
        ({"x": [1.0]}, TypeError, "got list"),
        ({"x": torch.zeros(2, 3)}, ValueError, r"x must have shape \(B, 20\) with B >= 1, got \(2, 3\)"),
        ({"x": torch.zeros(0, 20)}, ValueError, r"got \(0, 20\)"),
        ({"samples": 0}, ValueError, r"samples must be in \[1, 2\^32\], got 0"),
        ({"seed": -1}, ValueError, "seed must be in"),
        ({"votes": "yes"}, ValueError, "votes must be True or False, got 'yes'"),
        ({"inputs": torch.arange(3)}, ValueError, r"inputs must have shape \(2,\)"),
    ],
)
@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_arguments_of_predict(monkeypatch, kernels, change, error, message):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    with pytest.raises(error, match=message):
        compiled("vectors").predict(**{"x": torch.zeros(2, 20), **change})


@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_inputs_that_are_not_finite_are_named(monkeypatch, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    x = torch.zeros(5, 20)
    x[3, 2] = torch.inf
    x[4, 0] = torch.nan
    with pytest.raises(ValueError, match="x must be finite, but input 3 holds NaN or infinity"):
        compiled("vectors").predict(x)


def test_inputs_need_not_be_contiguous():
    x = torch.rand(3, 11, 13, 3).permute(0, 3, 2, 1)
    program = compiled("averaged")
    assert torch.equal(program.predict(x).probabilities, program.predict(x.contiguous()).probabilities)


def test_votes_are_kept_when_asked_for():
    program, x = compiled("vectors"), images("vectors", 3)
    prediction = program.predict(x, samples=30, votes=True)
    assert prediction.votes.shape == (3, 30, 4)
    torch.testing.assert_close(prediction.votes.mean(1), prediction.probabilities, atol=1e-6, rtol=1e-5)
    expected = torch.special.entr(prediction.votes).sum(-1).mean(1)
    torch.testing.assert_close(prediction.expected_entropy, expected, atol=1e-6, rtol=1e-5)
    total = torch.special.entr(prediction.probabilities).sum(-1)
    torch.testing.assert_close(prediction.entropy, total, atol=1e-6, rtol=1e-5)
    assert prediction.samples_used.tolist() == [30] * 3
    assert program.predict(x, samples=30).votes is None


def test_averages_that_are_declared_take_one_product():
    declared, undeclared = (
        nn.Sequential(
            nsm.nn.Conv2d(1, 4, 3), nn.AvgPool2d(2), layer, nn.Flatten(), nsm.nn.Linear(5, 6), nn.Linear(6, 2)
        )
        for layer in (nsm.nn.Conv2d(4, 5, 2, binary_input=True, pooled=4), nsm.nn.Conv2d(4, 5, 2))
    )
    counts = [nsm.engine.count(nsm.compile(net, image=(1, 6, 6))) for net in (declared, undeclared)]
    assert [count.multiplications for count in counts] == [80, 160]
    assert counts[0].additions == counts[1].additions == 42


@pytest.mark.parametrize("weights", ["int8", "int4", "ternary", "binary"])
@pytest.mark.parametrize("name", NETS)
def test_a_saved_program_is_the_same(tmp_path, name, weights):
    program, x = compiled(name, weights=weights), images(name, 2)
    program.save(tmp_path / "program.nsm")
    loaded = nsm.Program.load(tmp_path / "program.nsm")
    assert [path.name for path in tmp_path.iterdir()] == ["program.nsm"]
    assert torch.equal(program.predict(x).probabilities, loaded.predict(x).probabilities)


def test_fewer_bits_make_smaller_files(tmp_path):
    sizes = []
    for weights in ("int8", "int4", "ternary", "binary"):
        compiled("published", weights=weights).save(tmp_path / weights)
        sizes.append((tmp_path / weights).stat().st_size)
    assert all(fewer < 0.6 * more for more, fewer in itertools.pairwise(sizes))


def test_a_module_that_stands_in_two_places_is_compiled_in_both():
    torch.manual_seed(0)
    relu = nn.ReLU()
    shared = [nn.Linear(10, 16), relu, nn.Linear(16, 16), relu, nsm.nn.Linear(16, 32), nn.Linear(32, 4)]
    single = [nn.ReLU() if module is relu else module for module in shared]
    x = torch.randn(5, 10)
    both = [nsm.compile(nn.Sequential(*modules)).predict(x, samples=8) for modules in (shared, single)]
    assert torch.equal(both[0].probabilities, both[1].probabilities)
    hidden = nsm.nn.Linear(8, 8, binary_input=True)
    with pytest.raises(CompileError, match=r"2 \(Linear\) .* more than one place"):
        nsm.compile(nn.Sequential(nsm.nn.Linear(4, 8), hidden, hidden, nn.Linear(8, 2)))


class Scaled(nn.Linear):
    def forward(self, x):
        return 3.0 * super().forward(x)


class Turned(nsm.nn.Linear):
    def forward(self, x):
        return super().forward(-x)


def hooked(module, part=None):
    (part or module).register_forward_hook(lambda _module, _inputs, output: 3.0 * output)
    return module


def test_what_is_not_as_its_class_is_named():
    first, top = nsm.nn.Linear(4, 8), nn.Linear(8, 2)
    for modules, message in (
        ((first, Scaled(8, 2)), r"1 \(Scaled\) .* Scaled has a forward of its own"),
        ((Turned(4, 8), top), r"0 \(Turned\) .* Turned has a forward of its own"),
        ((first, hooked(nn.Linear(8, 2))), r"1 \(Linear\) .* it has a hook"),
    ):
        with pytest.raises(CompileError, match=message):
            nsm.compile(nn.Sequential(*modules))
    layer = nsm.nn.Linear(4, 8)
    with pytest.raises(CompileError, match=r"0 \(Linear\) .* it has a hook"):
        nsm.compile(nn.Sequential(hooked(layer, layer.product), top))


def scaled(module):
    """With a forward of its own, which the class does not have."""
    forward = module.forward
    module.forward = lambda x: 3.0 * forward(x)
    return module


@pytest.mark.parametrize(("change", "reason"), [(hooked, "has a hook"), (scaled, "has a forward of its own")])
def test_whatever_is_changed_in_a_network_is_named(change, reason):
    for place, name in (
        ("", r"net \(Sequential\)"),
        ("0", r"0 \(Sequential\)"),
        ("0.1", r"0\.1 \(Sequential\)"),  # with nothing inside
        ("0.0", r"0\.0 \(Linear\)"),
    ):
        hidden = nn.Sequential(nsm.nn.Linear(4, 8), nn.Sequential())
        net = nn.Sequential(hidden, nn.Linear(8, 2))
        nsm.compile(net)
        change(net.get_submodule(place))
        with pytest.raises(CompileError, match=f"{name} cannot be compiled: it {reason}"):
            nsm.compile(net)


class Wrapped(nn.Module):
    """As ``torch.compile`` wraps a network."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x)


def test_a_network_that_is_wrapped_is_named():
    net = Wrapped(nn.Sequential(nsm.nn.Linear(4, 8), nn.Linear(8, 2)))
    with pytest.raises(CompileError, match=r"net \(Wrapped\) .* Wrapped has a forward of its own"):
        nsm.compile(net)


def test_pruned_layers_are_compiled_as_they_have_learned():
    torch.manual_seed(1)
    net = nn.Sequential(nsm.nn.Linear(4, 8), nn.Linear(8, 2))
    for product in (net[0].product, net[1]):
        prune.l1_unstructured(product, "weight", amount=0.5)
    with torch.no_grad():
        net[0].product.weight_orig.mul_(-1.0)
        net[1].weight_orig.add_(2.0)
    x = torch.randn(3, 4)
    before = nsm.compile(net).predict(x, samples=8).probabilities
    net(x)
    assert torch.equal(before, nsm.compile(net).predict(x, samples=8).probabilities)


def test_pruned_layers_are_compiled_as_they_are():
    torch.manual_seed(1)
    layer, top = nsm.nn.Linear(4, 8), nn.Linear(8, 2)
    prune.l1_unstructured(layer.product, "weight", amount=0.5)
    pruned = nsm.compile(nn.Sequential(layer, top))
    prune.remove(layer.product, "weight")
    x = torch.randn(3, 4)
    plain = nsm.compile(nn.Sequential(layer, top)).predict(x, samples=8)
    assert torch.equal(pruned.predict(x, samples=8).probabilities, plain.probabilities)


@pytest.fixture
def defaults():
    yield
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)


@pytest.mark.usefixtures("defaults")
@pytest.mark.parametrize("kernels", ["native", "off"])
def test_torchs_defaults_change_no_prediction(kernels, monkeypatch):
    if kernels == "off":
        monkeypatch.setenv("NSM_KERNELS", "off")
    program, x = compiled("averaged"), images("averaged", 3)
    before = program.predict(x, samples=20, votes=True)
    for dtype in (torch.float64, torch.bfloat16):
        torch.set_default_dtype(dtype)
        for mine, expected in zip(program.predict(x, samples=20, votes=True), before, strict=True):
            assert expected is None or torch.equal(mine, expected)
    if kernels == "native":
        torch.set_default_dtype(torch.float32)
        torch.set_default_device("meta")
        assert torch.equal(program.predict(x, samples=20).probabilities, before.probabilities)


def test_a_program_that_was_used_can_be_sent_to_another_process():
    program, x = compiled("averaged"), images("averaged", 2)
    before = program.predict(x, samples=8)
    again = pickle.loads(pickle.dumps(program))
    assert torch.equal(again.predict(x, samples=8).probabilities, before.probabilities)


def test_a_classifier_whose_logits_overflow_is_refused():
    program = nsm.compile(nn.Sequential(nsm.nn.Linear(4, 8), nn.Linear(8, 2)))
    *steps, top = program.steps
    with pytest.raises(ValueError, match="logits must be finite in float32, got scales up to 3e\\+38"):
        nsm.Program((*steps, replace(top, scale=np.full_like(top.scale, 3e38))), vector=True)
