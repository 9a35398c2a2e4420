"""Populations from what they hear: bits of the reference, gradient of the exact mean."""

import pytest
import torch

from nsm import functional, native, populations
from tests.native.cases import windows

KERNELS = native.active() == "native"
needs_kernels = pytest.mark.skipif(not KERNELS, reason="the C++ kernels are not installed")
# (N, *P, *W, C): windows of one and two dimensions, of one neuron, of more than are estimated; rows that end
# inside a group of 64; several chunks.
SHAPES = [
    (3, 5, 2, 7),
    (2, 12, 12, 2, 2, 32),
    (2, 40, 1, 64),
    (1, 3, 9, 130),
    (2, 3, 4, 2, 2, 33),
]
LAYOUTS = ["image", "neurons apart"]
LAW = 0.25, 0.01


def inputs(shape, layout="image", dtype=torch.float32, samples=1, members=3):
    generator = torch.Generator().manual_seed(sum(shape))

    def normal(*size):
        return torch.randn(size, generator=generator)

    u = windows(normal(*shape).to(dtype), layout)
    power = windows(normal(*shape).square().to(dtype), layout)
    power[0] *= normal(*shape[1:]) > 0  # some hear nothing
    gain, bias = normal(shape[-1]), normal(members, shape[-1]) - 0.5
    index = torch.arange(samples * shape[0])
    rows = torch.stack((2**32 - 1 - index % samples, 7 + 2**29 * (index // samples)), dim=-1)
    return (u, power, gain, bias), (torch.tensor(0x7EDCBA9876543210), rows, 3 << 16 | 5 << 8)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("extra", [0.0, 0.01])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_samples_are_the_bits_of_the_reference(shape, layout, dtype, extra):
    for samples, members in ((1, 3), (3, 8), (1, 1)):
        (u, power, gain, bias), draw = inputs(shape, layout, dtype, samples, members)
        for heard in (power, None):
            z = native.hear(u, heard, gain, bias, 0.25, extra, *draw)
            assert torch.equal(z, populations.hear(u, heard, gain, bias, 0.25, extra, *draw))
            assert {float(z.min()), float(z.max())} <= {2.0 * k / members - 1.0 for k in range(members + 1)}
            assert len(z.unique()) > members // 2


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_samples_are_those_of_the_parts(shape, layout):
    (u, power, gain, bias), (seed, rows, place) = inputs(shape, layout, samples=2)
    s = native.standardize(u.flatten(1, -2), power.flatten(1, -2), gain, bias, *LAW).unflatten(2, shape[1:-1])
    one, zero = (x.view(*(1,) * (u.dim() - 1), -1) for x in (torch.ones_like(gain), torch.zeros_like(gain)))
    draws = [native.fire_max(part, one, zero, seed, rows, place + 16 * k) for k, part in enumerate(s)]
    z = native.hear(u, power, gain, bias, *LAW, seed, rows, place)
    assert torch.equal(z, torch.stack(draws).sum(0) / 3)


def mean(u, power, gain, bias, law):
    """E of the samples, by way of each neuron's probability."""
    dims = (u.dim() - 2) // 2
    members = []
    for b in bias:
        s = u * gain + b if power is None else functional.standardize(u, power, gain, b, *law)
        silent = (0.5 * torch.special.erfc(s)).flatten(1 + dims, 2 * dims)
        members.append(1.0 - 2.0 * silent.prod(1 + dims))
    return torch.stack(members).mean(0)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradient_is_that_of_the_exact_mean(monkeypatch, shape, layout, known, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    for samples in (1, 3):
        tensors, draw = inputs(shape, layout, samples=samples)
        leaves = [x.detach().requires_grad_() for x in tensors]
        if known:
            del leaves[1]
        heard = [leaves[0], None, *leaves[1:]] if known else leaves
        z = native.hear(*heard, *LAW, *draw)
        weight = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
        got = torch.autograd.grad((z * weight).sum(), leaves)
        exact = [x.detach().double().requires_grad_() for x in leaves]
        heard = [exact[0], None, *exact[1:]] if known else exact
        expected = (mean(*heard, LAW).repeat_interleave(samples, 0) * weight).sum()
        for one, two in zip(got, torch.autograd.grad(expected, exact), strict=True):
            torch.testing.assert_close(one.double(), two, rtol=2e-5, atol=2e-4)


@needs_kernels
@pytest.mark.usefixtures("instruction_set")
def test_gradients_do_not_depend_on_the_memory_order_of_parameters():
    (u, power, gain, bias), _ = inputs((2, 4, 2, 5))
    grad = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1))
    turned, apart = bias.t().contiguous().t(), torch.stack((gain, gain), 1)[:, 0]
    expected = torch.ops.nsm.hear_backward(grad, u, power, gain, bias, *LAW, "probability")
    got = torch.ops.nsm.hear_backward(grad, u, power, apart, turned, *LAW, "probability")
    assert all(torch.equal(one, two) for one, two in zip(got, expected, strict=True))
    assert got[3].stride() == turned.stride()


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_without_variance_neurons_are_sure_and_learn_nothing(monkeypatch, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    (u, power, gain, bias), draw = inputs((2, 4, 2, 5))
    u.zero_(), power.zero_()
    bias[0, 0] = 0.0
    leaves = [x.detach().requires_grad_() for x in (u, power, gain, bias)]
    z = native.hear(*leaves, 0.25, 0.0, *draw)
    assert torch.equal(z, torch.where(bias >= 0, 1.0, -1.0).mean(0).expand_as(z))
    for gradient in torch.autograd.grad(z.sum(), leaves):
        assert not gradient.any()


@pytest.mark.usefixtures("instruction_set")
def test_nan_stays_visible():
    (u, power, gain, bias), draw = inputs((2, 6, 4, 5))
    u[1, 3, 2, 4] = power[0, 1, 0, 2] = torch.nan
    broken = native.hear(u, power, gain, bias, *LAW, *draw).isnan()
    assert broken[1, 3, 4]
    assert broken[0, 1, 2]
    assert broken.sum() == 2


@needs_kernels
def test_results_do_not_depend_on_threads():
    tensors, draw = inputs((7, 12, 12, 2, 2, 32), samples=2)
    grad = torch.randn(14, 12, 12, 32, generator=torch.Generator().manual_seed(1))
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            z = native.hear(*tensors, *LAW, *draw)
            results.append((z, *torch.ops.nsm.hear_backward(grad, *tensors, *LAW, "probability")))
    finally:
        torch.set_num_threads(before)
    for one, *others in zip(*results, strict=True):
        assert all(torch.equal(one, other) for other in others)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_registration_is_sound(monkeypatch, dtype, known, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    (u, power, gain, bias), draw = inputs((2, 3, 4, 5), dtype=dtype, samples=2)
    leaves = [x.detach().requires_grad_() for x in (u, power, gain, bias)]
    if known:
        leaves[1] = None
    torch.library.opcheck(torch.ops.nsm.hear.default, (*leaves, *LAW, *draw, "probability"))
    grad = torch.ones(4, 3, 5, dtype=dtype)
    heard = None if known else power
    torch.library.opcheck(
        torch.ops.nsm.hear_backward.default, (grad, u, heard, gain, bias, *LAW, "probability")
    )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({0: torch.zeros(2, 3, 5)}, ValueError, r"u must have shape \(N, \*P, \*K, C\)"),
        ({0: torch.zeros(2, 3, 0, 5)}, ValueError, r"u .* windows of one neuron .* got shape \(2, 3, 0, 5\)"),
        ({1: torch.zeros(2, 3, 4, 6)}, ValueError, "power must be as u, torch.float32 of shape"),
        ({1: torch.zeros(2, 3, 4, 5, dtype=torch.bfloat16)}, ValueError, "got torch.bfloat16 of shape"),
        ({2: torch.zeros(4)}, ValueError, r"gain must have shape \(5,\) and bias \(K, 5\)"),
        ({3: torch.zeros(5)}, ValueError, r"got \(5,\) and \(5,\)"),
        ({3: torch.zeros(0, 5)}, ValueError, "with K >= 1"),
        ({3: torch.zeros(2, 5, dtype=torch.int64)}, TypeError, "bias must be float32 or float64"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, message):
    tensors, draw = inputs((2, 3, 4, 5))
    arguments = [change.get(i, x) for i, x in enumerate(tensors)]
    with pytest.raises(error, match=message):
        native.hear(*arguments, *LAW, *draw)


@pytest.mark.parametrize("shape", [(3, 3, 5), (2, 4, 5), (2, 3, 4, 5)], ids=str)
def test_gradients_of_other_shapes_are_refused(shape):
    tensors, _ = inputs((2, 3, 4, 5))
    with pytest.raises(
        ValueError, match=r"grad must have shape \(R, 3, 5\), R a multiple of the 2 inputs, got"
    ):
        torch.ops.nsm.hear_backward(torch.zeros(shape), *tensors, *LAW, "probability")


def test_the_last_neuron_of_a_population_needs_a_place_too():
    tensors, (seed, rows, _) = inputs((2, 3, 4, 5))
    native.hear(*tensors, *LAW, seed, rows, 2**32 - 33)
    with pytest.raises(ValueError, match=r"place .* below 2\^32 .* all 3 neurons .* got 4294967264"):
        native.hear(*tensors, *LAW, seed, rows, 2**32 - 32)
