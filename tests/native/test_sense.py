"""Neurons straight from real inputs: bits of the reference, gradients by value, and the layer around them."""

import itertools
import math
import sys

import pytest
import torch
from torch import nn

import nsm
from nsm import fields, functional, native, random
from nsm.fields import Fields

KERNELS = native.active() == "native"
LAW = (0.1875, 0.04)


# Shapes of x and of the weights, fields: windows of one, 4 and 6 neurons; channels that fill no lanes; more
# than 64 positions; strides and dilation; incomplete windows; one and three dimensions; more synapses than
# the kernel takes. Where images are sparse, some windows hear nothing, and most some inputs alone.
CASES = {
    "mnist": ((2, 1, 16, 20), (32, 1, 5, 5), Fields((1, 1), (1, 1), (2, 2))),
    "no maximum": ((2, 3, 11, 10), (7, 3, 3, 3), Fields((1, 1), (1, 1), (1, 1))),
    "strides": ((3, 2, 14, 15), (20, 2, 3, 2), Fields((2, 1), (1, 2), (2, 3))),
    "one dimension": ((2, 2, 90), (17, 2, 4), Fields((1,), (2,), (1,))),
    "sparse": ((3, 1, 16, 20), (32, 1, 5, 5), Fields((1, 1), (1, 1), (2, 2))),
    "sparse strides": ((3, 2, 14, 15), (20, 2, 3, 2), Fields((2, 1), (1, 2), (2, 3))),
    "large fields": ((2, 1, 18, 19), (3, 1, 17, 17), Fields((1, 1), (1, 1), (1, 2))),
    "three dimensions": ((2, 1, 5, 6, 7), (3, 1, 2, 2, 2), Fields((1, 1, 1), (1, 1, 1), (1, 2, 2))),
}


def inputs(case, samples=1):
    shape, weight, where = CASES[case]
    generator = torch.Generator().manual_seed(sum(shape))
    x, w = (torch.randn(size, generator=generator) for size in (shape, weight))
    if case.startswith("sparse"):
        x *= torch.rand(shape, generator=generator) < 0.2
        x[0, :, 4:] = 0.0
    gain, bias = torch.rand(weight[0], generator=generator) + 0.3, torch.randn(weight[0], generator=generator)
    index = torch.arange(samples * shape[0])
    rows = torch.stack((2**32 - 1 - index % samples, 7 + 2**29 * (index // samples)), dim=-1)
    return (x, w, gain, bias), where, (torch.tensor(0x7EDCBA9876543210), rows, random.place(3, 5))


def drawn(case, samples=1, dtype=torch.float32):
    tensors, where, draw = inputs(case, samples)
    return native.sense(*tensors, *LAW, where, *draw, dtype)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_samples_are_the_bits_of_the_reference(case, samples):
    tensors, where, draw = inputs(case, samples)
    expected = fields.sense(*tensors, *LAW, where, *draw)
    z = drawn(case, samples)
    assert torch.equal(z, expected)
    assert set(z.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(drawn(case, samples, torch.bfloat16), expected.bfloat16())


def test_plain_torch_draws_the_same(monkeypatch):
    expected = {case: drawn(case, 2) for case in CASES}
    monkeypatch.setenv("NSM_KERNELS", "off")
    for part, case in itertools.product((1, 2**15), CASES):
        monkeypatch.setattr(sys.modules["nsm.native.sense"], "_PART", part)
        assert torch.equal(drawn(case, 2), expected[case])


@pytest.mark.usefixtures("instruction_set")
def test_samples_are_those_of_products_made_apart():
    (x, weight, gain, bias), _, draw = inputs("mnist")
    u, power = (nn.functional.conv2d(a.double(), b.double()) for a, b in ((x, weight), (x**2, weight**2)))
    s = (u * gain[:, None, None] + bias[:, None, None]) / (2 * (LAW[0] * power + LAW[1])).sqrt()
    silent = (0.5 * torch.special.erfc(s)).unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).prod(-1)
    threshold = ((1.0 - silent) * 2**24).movedim(1, -1)
    uniform = random.words(draw[0], draw[1], threshold[0].numel(), draw[2]).view_as(threshold) >> 8
    clear = (uniform - threshold).abs() > 200
    assert clear.double().mean() > 0.99
    fired = torch.where(uniform < threshold, 1.0, -1.0)
    assert torch.equal(drawn("mnist")[clear], fired[clear])


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("estimator", functional.ESTIMATORS)
@pytest.mark.parametrize("case", CASES)
def test_gradient_is_that_of_the_operators_one_after_the_other(monkeypatch, case, estimator, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    (x, *parameters), where, draw = inputs(case, 2)
    leaves = [tensor.requires_grad_() for tensor in parameters]
    z = native.sense(x, *leaves, *LAW, where, *draw, torch.float32, estimator)
    grad = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
    got = torch.autograd.grad(z, leaves, grad)
    weight, gain, bias = exact = [tensor.detach().double().requires_grad_() for tensor in parameters]
    seen = fields.receptive_fields(x.double(), weight.shape, where).flatten(2 * x.dim() - 3)
    u, power = seen @ weight.flatten(1).t(), seen.square() @ weight.flatten(1).t().square()
    s = (u * gain + bias) / (2 * (LAW[0] * power + LAW[1])).sqrt()
    one = torch.ones(*(1,) * (s.dim() - 1), len(weight), dtype=torch.float64)
    expected = torch.autograd.grad(native.fire_max(s, one, 0.0 * one, *draw, estimator), exact, grad.double())
    for one, two in zip(got, expected, strict=True):
        torch.testing.assert_close(one.double(), two, rtol=1e-5, atol=1e-5 * float(two.abs().max()))


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_without_variance_neurons_are_sure_and_learn_nothing(monkeypatch, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    x, weight = torch.zeros(1, 1, 6, 6), torch.ones(2, 1, 3, 3, requires_grad=True)
    gain, bias = torch.ones(2, requires_grad=True), torch.tensor([0.0, -1e-9])
    draw = (torch.tensor(0), torch.zeros(1, 2, dtype=torch.int64), 0)
    where = Fields((1, 1), (1, 1), (1, 1))
    z = native.sense(x, weight, gain, bias, 0.25, 0.0, where, *draw, torch.float32)
    assert torch.equal(z, torch.tensor([1.0, -1.0]).expand(1, 4, 4, 2))
    for gradient in torch.autograd.grad(z.sum(), (weight, gain)):
        assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("case", ["sparse", "sparse strides"])
def test_windows_that_hear_nothing_are_sure_where_nothing_else_is_noisy(case):
    tensors, where, draw = inputs(case)
    expected = fields.sense(*tensors, LAW[0], 0.0, where, *draw)
    assert torch.equal(native.sense(*tensors, LAW[0], 0.0, where, *draw, torch.float32), expected)
    z = expected.new_ones(expected.shape)
    got = torch.ops.nsm.sense_backward(z, *tensors, LAW[0], 0.0, *where, "probability")
    exact = fields.sense_backward(z, *tensors, LAW[0], 0.0, where, "probability")
    for one, two in zip(got, exact, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4 * float(two.abs().max()))


@pytest.mark.parametrize("shape", [(3, 9, 8, 7), (2, 9, 8, 6), (2, 8, 8, 7)], ids=str)
def test_gradients_of_other_shapes_are_refused(shape):
    tensors, where, _ = inputs("no maximum")
    with pytest.raises(
        ValueError, match=r"grad must have shape \(R, 9, 8, 7\), R a multiple of the 2 inputs"
    ):
        torch.ops.nsm.sense_backward(torch.zeros(shape), *tensors, *LAW, *where, "probability")


@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16], ids=str)
def test_gradients_of_other_dtypes_are_converted(monkeypatch, dtype, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    tensors, where, _ = inputs("no maximum")
    grad = drawn("no maximum").to(dtype)
    expected = torch.ops.nsm.sense_backward(grad.float(), *tensors, *LAW, *where, "probability")
    got = torch.ops.nsm.sense_backward(grad, *tensors, *LAW, *where, "probability")
    for one, two in zip(got, expected, strict=True):
        assert torch.equal(one, two)
        assert one.dtype == two.dtype


@pytest.mark.usefixtures("instruction_set")
def test_no_input_silences_a_weight_that_is_no_number():
    (x, weight, gain, bias), where, draw = inputs("sparse")
    weight[5, 0, 2, 2] = torch.inf
    broken = native.sense(x, weight, gain, bias, *LAW, where, *draw, torch.float32).isnan()
    assert broken[..., 5].all()
    assert not broken[..., :5].any()


@pytest.mark.usefixtures("instruction_set")
def test_strides_of_a_single_image_mean_nothing():
    (x, *parameters), where, (seed, rows, place) = inputs("mnist")
    draw = (seed, rows[:1], place)
    expected = native.sense(x[:1], *parameters, *LAW, where, *draw, torch.float32)
    alone = x[:1].as_strided(x[:1].shape, (0, *x.stride()[1:]))
    assert torch.equal(native.sense(alone, *parameters, *LAW, where, *draw, torch.float32), expected)


@pytest.mark.usefixtures("instruction_set")
def test_nan_stays_visible():
    (x, *parameters), where, draw = inputs("mnist")
    x[1, 0, 3, 3] = torch.nan
    broken = native.sense(x, *parameters, *LAW, where, *draw, torch.float32).isnan()
    assert broken[1, :2, :2].all()
    assert broken.sum() == broken[1, :2, :2].sum()


def test_results_do_not_depend_on_threads():
    tensors, where, draw = inputs("mnist", 3)
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            z = native.sense(*tensors, *LAW, where, *draw, torch.float32)
            results.append((z, *torch.ops.nsm.sense_backward(z, *tensors, *LAW, *where, "probability")))
    finally:
        torch.set_num_threads(before)
    for one, two, three in zip(*results, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("case", ["strides", "one dimension"])
def test_registration_is_sound(monkeypatch, case, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    (x, *parameters), where, draw = inputs(case)
    leaves = [tensor.requires_grad_() for tensor in parameters]
    arguments = (x, *leaves, *LAW, *where, *draw, torch.float32, "probability")
    torch.library.opcheck(torch.ops.nsm.sense.default, arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({0: torch.zeros(2, 1, 16, 20, requires_grad=True)}, ValueError, "x must not need a gradient"),
        (
            {0: torch.zeros(2, 2, 16, 20)},
            ValueError,
            r"x must have shape .* got \(2, 2, 16, 20\) and",
        ),
        ({2: torch.zeros(31)}, ValueError, r"gain and bias must have shape \(32,\), got \(31,\) and \(32,\)"),
        ({0: torch.zeros(2, 1, 5, 20)}, ValueError, r"x of size \(5, 20\) has no room for one window"),
        ({6: Fields((1, 1), (0, 1), (2, 2))}, ValueError, "fields must have 2 numbers >= 1 of each kind"),
        ({1: torch.zeros(32, 1, 5, 5).double()}, TypeError, "x, weight, gain and bias must be float32"),
        ({10: torch.float64}, TypeError, "dtype must be float32 or bfloat16, got torch.float64"),
        ({9: 2**32}, ValueError, r"place must be in \[0, 2\^32\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, error, message):
    tensors, where, draw = inputs("mnist")
    arguments = [*tensors, *LAW, where, *draw, torch.float32]
    for position, value in change.items():
        arguments[position] = value
    with pytest.raises(error, match=message):
        native.sense(*arguments)


def layer_and_input(**options):
    torch.manual_seed(0)
    return nsm.nn.Conv2d(1, 6, 5, padding=2, max_pool=2, **options), torch.rand(4, 1, 12, 12)


def called(monkeypatch):
    """How often the operator runs."""
    calls = []
    original = native.sense
    monkeypatch.setattr(native, "sense", lambda *args: calls.append(1) or original(*args))
    return calls


@pytest.mark.parametrize(
    "options", [{}, {"bias": False, "eta": 0.3, "estimator": "straight-through"}], ids=str
)
def test_a_layer_samples_as_with_its_product_apart(monkeypatch, options):
    calls = called(monkeypatch)
    layer, x = layer_and_input(**options)
    results = []
    for watched in (False, True):
        hook = layer.product.register_forward_hook(lambda *_: None) if watched else None
        index = torch.arange(8)
        with nsm.nn.draws(layer, seed=0, samples=index % 2, inputs=index // 2):
            z = layer(x)
        results.append(
            (z.detach(), torch.autograd.grad(z.square().sum() + z.sum(), list(layer.parameters())))
        )
        if hook:
            hook.remove()
    assert len(calls) == 1
    (one, gradients), (two, expected) = results
    # The products' last bits differ, and with them one sample in a million.
    assert (one != two).float().mean() < 1e-3
    assert one.shape == two.shape
    for got, exact in zip(gradients, expected, strict=True):
        torch.testing.assert_close(got, exact, rtol=1e-3, atol=1e-4 * float(exact.abs().max()))


def test_a_layer_keeps_its_product_where_that_is_wanted(monkeypatch):
    calls = called(monkeypatch)
    layer, x = layer_and_input()
    layer(x.clone().requires_grad_())
    for fidelity in ("synapse", "unit", "mean", "threshold"):
        with nsm.fidelity(fidelity):
            layer(x)
    layer.product.register_forward_pre_hook(lambda *_: None)
    layer(x)
    layer_and_input(binary_input=True)[0](x.sign())
    nsm.nn.Conv2d(4, 4, 3)(torch.rand(2, 4, 9, 9))
    assert not calls


def test_a_layer_follows_autocast(monkeypatch):
    calls = called(monkeypatch)
    layer, x = layer_and_input()
    with torch.autocast("cpu", torch.bfloat16):
        z = layer(x)
    assert calls
    assert z.dtype == torch.bfloat16
    assert z.is_contiguous(memory_format=torch.channels_last)
    z.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())
    assert math.isfinite(float(layer.product.weight.grad.abs().sum()))
