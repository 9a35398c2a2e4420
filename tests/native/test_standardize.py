"""The argument of erf where the inputs decide the variance: bits of the reference, gradients by value."""

import math

import pytest
import torch

from nsm import functional, native
from tests.native.cases import LAYOUTS, SHAPES, arranged

KERNELS = native.active() == "native"
LAW = (0.1875, 0.04)


def inputs(shape, layout="channel last", dtype=torch.float32, members=1):
    generator = torch.Generator().manual_seed(sum(shape))
    u, power, gain, bias = (
        torch.randn(size, generator=generator) for size in (shape, shape, shape[2], (members, shape[2]))
    )
    return arranged(u.to(dtype), layout), arranged(power.square().to(dtype), layout), gain, bias


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("extra", [0.0, 0.3])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("members", [1, 3])
def test_values_are_the_bits_of_the_reference(members, shape, layout, extra, dtype):
    u, power, gain, bias = inputs(shape, layout, dtype, members)
    expected = functional.standardize(u.float(), power.float(), gain, bias, 0.1875, extra)
    assert torch.equal(native.standardize(u, power, gain, bias, 0.1875, extra), expected)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_gradients_in_bfloat16_are_rounded_once(layout):
    narrow = inputs((3, 20, 7), layout, torch.bfloat16, members=2)
    grad = torch.stack([arranged(torch.randn(3, 20, 7), layout) for _ in range(2)])
    wide = (narrow[0].float(), narrow[1].float(), *narrow[2:])
    got = torch.ops.nsm.standardize_backward(grad, *narrow, *LAW)
    expected = torch.ops.nsm.standardize_backward(grad, *wide, *LAW)
    for one, two, dtype in zip(got, expected, (x.dtype for x in narrow), strict=True):
        assert torch.equal(one, two.to(dtype))


def test_memory_orders_may_differ():
    u, power, gain, bias = inputs((3, 20, 7))
    turned = arranged(power, "position last")
    expected = functional.standardize(u, power, gain, bias, *LAW)
    assert torch.equal(native.standardize(u, turned, gain, bias, *LAW), expected)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("members", [1, 3])
def test_gradients_are_those_of_autograd(monkeypatch, members, shape, layout, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    tensors = inputs(shape, layout, members=members)
    tensors[1].add_(0.1)
    leaves = [x.detach().requires_grad_() for x in tensors]
    s = native.standardize(*leaves, *LAW)
    weight = torch.randn(s.shape, generator=torch.Generator().manual_seed(1))
    got = torch.autograd.grad((s * weight).sum(), leaves)
    exact = [x.detach().double().requires_grad_() for x in tensors]
    u, power, gain, bias = exact
    direct = (u * gain + bias[:, None, None]) / (2 * (LAW[0] * power + LAW[1])).sqrt()
    for one, two in zip(got, torch.autograd.grad((direct * weight).sum(), exact), strict=True):
        torch.testing.assert_close(one.double(), two, rtol=2e-5, atol=1e-4)


@pytest.mark.usefixtures("instruction_set")
def test_gradients_do_not_depend_on_the_memory_order_of_parameters():
    u, power, gain, bias = inputs((3, 20, 7), members=3)
    grad = torch.randn(3, 3, 20, 7, generator=torch.Generator().manual_seed(1))
    turned, apart = bias.t().contiguous().t(), torch.stack((gain, gain), 1)[:, 0]
    expected = torch.ops.nsm.standardize_backward(grad, u, power, gain, bias, *LAW)
    got = torch.ops.nsm.standardize_backward(grad, u, power, apart, turned, *LAW)
    assert all(torch.equal(one, two) for one, two in zip(got, expected, strict=True))
    assert got[3].stride() == turned.stride()


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("layout", ["channel last", "position last"])
def test_without_variance_s_is_infinite_and_has_no_gradient(monkeypatch, layout, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    u, _, gain, _ = inputs((2, 40, 2), layout)
    zero = torch.zeros_like(u).requires_grad_()
    leaves = [zero, torch.zeros_like(u).requires_grad_(), gain.requires_grad_(), torch.tensor([[0.0, -1e-9]])]
    s = native.standardize(*leaves, 0.25, 0.0)
    assert torch.equal(s, torch.tensor([math.inf, -math.inf]).expand(1, 2, 40, 2))
    s.sum().backward()
    for leaf in leaves[:3]:
        assert torch.equal(leaf.grad, torch.zeros_like(leaf))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_registration_is_sound(monkeypatch, dtype, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    leaves = [x.detach().requires_grad_() for x in inputs((2, 6, 5), "position last", dtype, members=2)]
    torch.library.opcheck(torch.ops.nsm.standardize.default, (*leaves, *LAW))


def test_results_do_not_depend_on_threads():
    tensors = inputs((40, 196, 64), members=2)
    grad = torch.randn(2, 40, 196, 64, generator=torch.Generator().manual_seed(1))
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            s = native.standardize(*tensors, *LAW)
            results.append((s, *torch.ops.nsm.standardize_backward(grad, *tensors, *LAW)))
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)


def test_shapes_that_do_not_fit_are_refused():
    u, power, gain, bias = inputs((2, 6, 5))
    with pytest.raises(
        ValueError, match=r"u and power must have one shape \(N, P, C\), .* got .* \(4,\), \(1, 5\)"
    ):
        native.standardize(u, power, gain[:4], bias, *LAW)
    with pytest.raises(ValueError, match=r"bias \(K, C\), got .* \(5,\)$"):
        native.standardize(u, power, gain, bias[0], *LAW)


@pytest.mark.parametrize("shape", [(1, 2, 6, 5), (2, 6, 5)], ids=str)
def test_gradients_of_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"grad must have shape \(3, 2, 6, 5\), got"):
        torch.ops.nsm.standardize_backward(torch.zeros(shape), *inputs((2, 6, 5), members=3), *LAW)
