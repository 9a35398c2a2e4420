"""Mean and variance of what neurons hear: values and gradients against plain torch in float64."""

import pytest
import torch

from nsm import functional, native
from tests.native.cases import LAYOUTS, SHAPES, arranged

KERNELS = native.active() == "native"


def heard(shape, layout="channel last", dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape))
    return arranged((torch.randn(shape, generator=generator) + 0.5).to(dtype), layout)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_are_those_of_float64(monkeypatch, shape, layout, dtype, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    u = heard(shape, layout, dtype).requires_grad_()
    exact = u.detach().double().requires_grad_()
    results, expected = native.statistics(u), (exact.mean((0, 1)), exact.var((0, 1), correction=0))
    for one, two in zip(results, expected, strict=True):
        assert one.dtype == torch.promote_types(dtype, torch.float32)
        torch.testing.assert_close(one.double(), two, rtol=2e-5, atol=1e-6)
    weights = torch.randn(2, shape[2], generator=torch.Generator().manual_seed(1)).to(one.dtype)
    (got,) = torch.autograd.grad((torch.stack(results) * weights).sum(), u)
    (direct,) = torch.autograd.grad((torch.stack(expected) * weights.double()).sum(), exact)
    assert got.dtype == dtype
    rounding = 2**-8 if dtype == torch.bfloat16 else 1e-6
    torch.testing.assert_close(got.double(), direct, rtol=rounding, atol=1e-6)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_large_batch_loses_no_digits(layout):
    u = torch.full((300, 200, 3), 1.1)
    u[::2] += 0.5
    mean, variance = native.statistics(arranged(u, layout))
    torch.testing.assert_close(mean, torch.full((3,), 1.35), rtol=3e-6, atol=0)
    torch.testing.assert_close(variance, torch.full((3,), 0.0625), rtol=3e-6, atol=0)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("special", ["none", "input", "position"])
def test_the_variance_of_what_is_far_from_0_is_found(monkeypatch, layout, kernels, special):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    u = arranged(torch.randn(50, 36, 5, generator=torch.Generator().manual_seed(1)) + 4096.0, layout)
    if special != "none":
        u[(0, slice(None)) if special == "input" else (slice(None), 0)] = 0.0
    exact = u.double()
    mean, variance = native.statistics(u)
    torch.testing.assert_close(mean.double(), exact.mean((0, 1)), rtol=1e-6, atol=0)
    torch.testing.assert_close(variance.double(), exact.var((0, 1), correction=0), rtol=1e-5, atol=0)


def test_gradients_pass_gradcheck():
    u = heard((3, 4, 5), dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(functional.statistics, u)
    assert torch.autograd.gradcheck(native.statistics, u)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_registration_is_sound(monkeypatch, dtype, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    u = heard((2, 6, 5), "position last", dtype).requires_grad_()
    torch.library.opcheck(torch.ops.nsm.statistics.default, (u,))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_results_do_not_depend_on_threads(layout):
    u, by = heard((40, 196, 64), layout), torch.randn(2, 64, generator=torch.Generator().manual_seed(1))
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append((*native.statistics(u), torch.ops.nsm.statistics_backward(u, u.mean((0, 1)), *by)))
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)


def test_gradients_of_other_dtypes_are_converted():
    u, by = heard((4, 6, 5)), torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        torch.ops.nsm.statistics_backward(u, *by.double()), torch.ops.nsm.statistics_backward(u, *by)
    )


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"u must be of shape \(N, P, C\), got \(2, 3\)"):
        native.statistics(torch.zeros(2, 3))


@pytest.mark.parametrize("position", [1, 2, 3])
def test_gradients_of_other_shapes_are_refused(position):
    arguments = [heard((2, 6, 5)), *torch.zeros(3, 5)]
    arguments[position] = torch.zeros(4)
    with pytest.raises(
        ValueError, match=r"mean, by_mean and by_variance must have shape \(5,\), got .*\(4,\)"
    ):
        torch.ops.nsm.statistics_backward(*arguments)
