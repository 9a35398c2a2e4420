"""Gradients of the firing operator: kernels against the closed form in float64, and autograd."""

import itertools
import math

import pytest
import torch

from nsm import functional, native
from tests.native.cases import LAYOUTS, SHAPES, inputs

needs_kernels = pytest.mark.skipif(native.active() != "native", reason="the C++ kernels are not installed")


def exact(case, grad, estimator):
    u, scale, shift = (x.double() for x in case.differentiable)
    return functional.fire_backward(grad.double(), u, scale, shift, estimator)


@needs_kernels
@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("estimator", functional.ESTIMATORS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradient_is_the_closed_form(shape, layout, estimator):
    for samples, per_position, population in itertools.product((1, 3), (False, True), (1, 5)):
        case = inputs(shape, layout, samples=samples, per_position=per_position, population=population)
        grad = torch.randn(samples * shape[0], *shape[1:], generator=torch.Generator().manual_seed(1))
        results = torch.ops.nsm.fire_backward(grad, *case.differentiable, estimator)
        for result, expected in zip(results, exact(case, grad, estimator), strict=True):
            torch.testing.assert_close(result.double(), expected, rtol=1e-5, atol=2e-5)


def test_gradient_of_a_population_is_that_of_the_average():
    case = inputs((3, 20, 7), population=4)
    u, scale, shift = (x.double().requires_grad_() for x in case.differentiable)
    grad = torch.randn(3, 20, 7, generator=torch.Generator().manual_seed(1)).double()
    torch.erf(u * scale + shift[:, None]).mean(0).backward(grad)
    for leaf, expected in zip((u, scale, shift), exact(case, grad, "probability"), strict=True):
        torch.testing.assert_close(leaf.grad, expected)


@needs_kernels
@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("layout", ["channel last", "position last"])
def test_bfloat16_gradient_is_rounded_once(layout):
    case = inputs((3, 40, 20), layout, torch.bfloat16, samples=2)
    grad = torch.randn(6, 40, 20, generator=torch.Generator().manual_seed(1)).bfloat16()
    by_u, by_scale, by_shift = torch.ops.nsm.fire_backward(grad, *case.differentiable, "probability")
    expected = exact(case, grad, "probability")
    torch.testing.assert_close(by_u.double(), expected[0], rtol=2.0**-8, atol=1e-6)
    torch.testing.assert_close(by_scale.double(), expected[1], rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(by_shift.double(), expected[2], rtol=1e-5, atol=2e-5)


@needs_kernels
@pytest.mark.usefixtures("instruction_set")
def test_slope_is_the_derivative_of_erf_everywhere():
    s = torch.cat((torch.linspace(-12, 12, 100_001), torch.tensor([torch.inf, -torch.inf, 1e30, -1e-40])))
    one, zero = torch.ones(len(s), 1), torch.zeros(len(s), 1)
    # One scale and shift per position: the gradient of shift is the slope itself.
    slope = torch.ops.nsm.fire_backward(torch.ones(1, len(s), 1), s.view(1, -1, 1), one, zero, "probability")[
        2
    ]
    expected = 2 / math.sqrt(math.pi) * torch.exp(-(s.double() ** 2))
    torch.testing.assert_close(slope[:, 0].double(), expected, rtol=1e-5, atol=1e-37)
    assert slope[-4:, 0].tolist() == [0.0, 0.0, 0.0, pytest.approx(2 / math.sqrt(math.pi))]


@needs_kernels
def test_gradient_has_no_denormals():
    s = torch.linspace(9, 10.5, 1000).view(1, -1, 1)
    by_u, *_ = torch.ops.nsm.fire_backward(
        torch.ones_like(s), s, torch.ones(1, 1), torch.zeros(1, 1), "probability"
    )
    assert (by_u > 0).any()
    assert by_u[by_u > 0].min() >= torch.finfo(torch.float32).tiny


@pytest.mark.parametrize("per_position", [False, True])
@pytest.mark.parametrize("population", [1, 3])
@pytest.mark.parametrize("layout", ["channel last", "position last"])
def test_gradient_does_not_depend_on_threads(layout, population, per_position):
    case = inputs((40, 196, 64), layout, per_position=per_position, population=population)
    grad = torch.randn(case.u.shape, generator=torch.Generator().manual_seed(1))
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(torch.ops.nsm.fire_backward(grad, *case.differentiable, "probability"))
    finally:
        torch.set_num_threads(before)
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_autograd_reaches_all_three_inputs(dtype):
    case = inputs((4, 9, 5), dtype=dtype, samples=2)
    leaves = [x.clone().requires_grad_() for x in case.differentiable]
    weight = torch.randn(8, 9, 5, generator=torch.Generator().manual_seed(1)).to(dtype)
    z = native.fire(*leaves, case.seed, case.rows, case.place, "straight-through")
    (z * weight).sum().backward()
    expected = exact(case, weight, "straight-through")
    tolerance = 1e-2 if dtype == torch.bfloat16 else 1e-5
    for leaf, reference in zip(leaves, expected, strict=True):
        assert leaf.grad.dtype == leaf.dtype
        torch.testing.assert_close(leaf.grad.double(), reference, rtol=tolerance, atol=tolerance)


def test_expanded_gradient_is_read_correctly():
    case = inputs((3, 8, 5), "position last")
    u = case.u.detach().requires_grad_()
    native.fire(u, *case[1:]).sum().backward()
    expected = exact(case, torch.ones(3, 8, 5), "probability")[0]
    torch.testing.assert_close(u.grad.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(3, 6, 5), (4, 6, 4), (4, 5), ()], ids=str)
def test_gradients_of_other_shapes_are_refused(shape):
    with pytest.raises(
        ValueError, match=r"grad must have shape \(R, 6, 5\), R a multiple of the 2 inputs, got"
    ):
        torch.ops.nsm.fire_backward(torch.zeros(shape), *inputs((2, 6, 5)).differentiable, "probability")
