"""Firing and maximum in one operator: bits of the reference, gradient of the exact mean, law of K samples."""

import pytest
import torch
from torch import Tensor

from nsm import functional, native
from tests.native.cases import windows

KERNELS = native.active() == "native"
needs_kernels = pytest.mark.skipif(not KERNELS, reason="the C++ kernels are not installed")
# (N, *P, *K, C): windows of one, two and three dimensions; rows that end inside a group of 64; several
# chunks; a window of one.
SHAPES = [
    (3, 5, 2, 7),
    (2, 3, 4, 2, 2, 33),
    (2, 12, 12, 2, 2, 32),
    (1, 2, 3, 2, 2, 3, 1, 70),
    (2, 40, 1, 64),
    (2, 3, 9, 130),
]
LAYOUTS = ["image", "dense", "neurons apart", "cropped"]


def inputs(shape, layout="image", dtype=torch.float32, samples=1, per_position=False):
    generator = torch.Generator().manual_seed(sum(shape))
    u = windows((2.0 * torch.randn(shape, generator=generator) - 1.0).to(dtype), layout)
    q = (1, *shape[1:]) if per_position else (1,) * (len(shape) - 1) + shape[-1:]
    scale = torch.rand(q, generator=generator) + 0.3
    shift = torch.randn(q, generator=generator) - 0.5
    index = torch.arange(samples * shape[0])
    rows = torch.stack((2**32 - 1 - index % samples, 7 + 2**29 * (index // samples)), dim=-1)
    return u, scale, shift, torch.tensor(0x7EDCBA9876543210), rows, 3 << 16 | 5 << 4


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_samples_are_the_bits_of_the_reference(shape, layout, dtype):
    for samples, per_position in ((1, False), (3, True)):
        case = inputs(shape, layout, dtype, samples, per_position)
        z = native.fire_max(*case)
        assert torch.equal(z, functional.fire_max(*case))
        assert set(z.unique().tolist()) == {-1.0, 1.0}


def mean(u: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    dims = (u.dim() - 2) // 2
    silent = (0.5 * torch.special.erfc(u * scale + shift)).flatten(1 + dims, 2 * dims)
    return 1.0 - 2.0 * silent.prod(1 + dims)


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradient_is_that_of_the_exact_mean(monkeypatch, shape, layout, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    for samples, per_position in ((1, False), (3, True)):
        u, scale, shift, *draw = inputs(shape, layout, samples=samples, per_position=per_position)
        leaves = [x.detach().requires_grad_() for x in (u, scale, shift)]
        z = native.fire_max(*leaves, *draw)
        weight = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
        got = torch.autograd.grad((z * weight).sum(), leaves)
        exact = [x.detach().double().requires_grad_() for x in (u, scale, shift)]
        expected = (mean(*exact).repeat_interleave(samples, 0) * weight).sum()
        for one, two in zip(got, torch.autograd.grad(expected, exact), strict=True):
            torch.testing.assert_close(one.double(), two, rtol=1e-5, atol=3e-5)


def test_a_window_of_one_is_the_plain_operator():
    u, scale, shift, *draw = inputs((3, 40, 1, 20))
    plain = native.fire(u[:, :, 0], scale[0, 0], shift[0, 0], *draw)
    assert torch.equal(native.fire_max(u, scale, shift, *draw), plain)


@pytest.mark.usefixtures("instruction_set")
def test_nan_stays_visible():
    case = inputs((2, 6, 4, 5))
    case[0][1, 3, 2, 4] = torch.nan
    broken = native.fire_max(*case).isnan()
    assert broken[1, 3, 4]
    assert broken.sum() == 1


@needs_kernels
def test_results_do_not_depend_on_threads():
    case = inputs((7, 12, 12, 2, 2, 32), samples=2)
    grad = torch.randn(14, 12, 12, 32, generator=torch.Generator().manual_seed(1))
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            z = native.fire_max(*case)
            results.append((z, *torch.ops.nsm.fire_max_backward(grad, *case[:3], "probability")))
    finally:
        torch.set_num_threads(before)
    for one, *others in zip(*results, strict=True):
        assert all(torch.equal(one, other) for other in others)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("kernels", ["auto", "off"])
def test_registration_is_sound(monkeypatch, dtype, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    u, scale, shift, *draw = inputs((2, 3, 4, 5), dtype=dtype, samples=2)
    leaves = [x.detach().requires_grad_() for x in (u, scale, shift)]
    torch.library.opcheck(torch.ops.nsm.fire_max.default, (*leaves, *draw, "probability"))
    grad = torch.ones(4, 3, 5, dtype=dtype)
    torch.library.opcheck(torch.ops.nsm.fire_max_backward.default, (grad, u, scale, shift, "probability"))


def test_straight_through_takes_the_place_of_the_slope():
    u, scale, shift, *draw = inputs((3, 5, 4, 7))
    leaves = [x.detach().requires_grad_() for x in (u, scale, shift)]
    native.fire_max(*leaves, *draw, "straight-through").sum().backward()
    s = u * scale + shift
    silent = 0.5 * torch.special.erfc(s.double())
    others = torch.stack(
        [torch.cat((silent[:, :, :k], silent[:, :, k + 1 :]), 2).prod(2) for k in range(4)], 2
    )
    expected = others * (s.abs() <= 1.0) * scale
    torch.testing.assert_close(leaves[0].grad.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({0: torch.zeros(2, 3, 5)}, ValueError, r"u must have shape \(N, \*P, \*K, C\)"),
        ({0: torch.zeros(2, 6, 0, 5)}, ValueError, r"u .* windows of one neuron .* got shape \(2, 6, 0, 5\)"),
        ({0: torch.zeros(2, 6, 4, 5).int()}, TypeError, "u must be float32, bfloat16 or float64"),
        ({1: torch.zeros(1, 5)}, ValueError, r"scale and shift must both .* got scale \(1, 5\)"),
        ({2: torch.zeros(1, 6, 4, 5)}, ValueError, r"scale and shift must both .* got shift \(1, 6, 4, 5\)"),
        ({1: torch.zeros(1, 1, 1, 5).bfloat16()}, TypeError, "scale must be float32 or float64"),
        ({5: 2**32}, ValueError, r"place must be in \[0, 2\^32\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, error, message):
    case = list(inputs((2, 6, 4, 5)))
    for place, value in change.items():
        case[place] = value
    with pytest.raises(error, match=message):
        native.fire_max(*case)


@pytest.mark.parametrize("shape", [(0, 4, 2, 3), (2, 0, 2, 3), (2, 4, 2, 0)], ids=str)
def test_empty_input_gives_empty_output(shape):
    u, *rest = inputs(shape, "dense")
    u.requires_grad_()
    z = native.fire_max(u, *rest)
    z.sum().backward()
    assert z.shape == (*shape[:2], shape[3])
    assert u.grad.shape == shape


@pytest.mark.parametrize("shape", [(3, 6, 5), (2, 4, 5), (2, 6, 4, 5)], ids=str)
def test_gradients_of_other_shapes_are_refused(shape):
    with pytest.raises(
        ValueError, match=r"grad must have shape \(R, 6, 5\), R a multiple of the 2 inputs, got"
    ):
        torch.ops.nsm.fire_max_backward(torch.zeros(shape), *inputs((2, 6, 4, 5))[:3], "probability")
