"""The kernels' samples are those of the plain torch form, bit for bit."""

import itertools

import pytest
import torch

from nsm import functional, native, random
from tests.native.cases import LAYOUTS, SHAPES, Inputs, inputs

pytestmark = pytest.mark.skipif(native.active() != "native", reason="the C++ kernels are not installed")


def assert_same_bits(case: Inputs) -> None:
    z = native.fire(*case)
    assert torch.equal(z, functional.fire(*case))
    if case.shift.dim() == 2:
        assert set(z.unique().tolist()) == {-1.0, 1.0}


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_samples_are_the_bits_of_the_reference(shape, layout, dtype):
    for samples, per_position, population in itertools.product((1, 3), (False, True), (1, 5)):
        assert_same_bits(inputs(shape, layout, dtype, samples, per_position, population))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("samples", [1, 3])
def test_a_population_is_the_average_of_neurons_that_draw_at_later_uses(samples, layout):
    case = inputs((2, 70, 33), layout, samples=samples, population=5)
    single = [
        native.fire(*case._replace(shift=shift, place=case.place + 16 * k))
        for k, shift in enumerate(case.shift)
    ]
    z = native.fire(*case)
    assert torch.equal(z, sum(single) / 5)
    assert z.stride() == single[0].stride()


@pytest.mark.usefixtures("instruction_set")
def test_thresholds_are_equal_to_the_last_unit():
    # Every s is put where its threshold meets the number it is compared with: one unit more or less shows.
    count = 200_000
    case = inputs((1, count, 1))
    uniform = random.words(case.seed, case.rows, count, case.place) >> 8
    s = torch.special.erfinv((uniform.double() + 0.5) * 2.0**-23 - 1.0).float()
    case = case._replace(u=s.view(1, count, 1), scale=torch.ones(1, 1), shift=torch.zeros(1, 1))
    assert_same_bits(case)
    nearer = (functional.threshold24(s) - uniform).abs() <= 2
    assert nearer.float().mean() > 0.5


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_extreme_arguments_are_defined(dtype):
    values = torch.tensor([0.0, -0.0, 5.0, -5.0, torch.inf, -torch.inf, 1e38, -1e38], dtype=dtype)
    case = inputs((1, 512, 8), dtype=dtype)
    case = case._replace(u=values.expand(1, 512, 8), scale=torch.ones(1, 8), shift=torch.zeros(1, 8))
    z = native.fire(*case)
    assert torch.equal(z, functional.fire(*case))
    certain = torch.tensor([1.0, -1.0] * 3, dtype=dtype)
    assert torch.equal(z[0, :, 2:], certain.expand(512, 6))
    assert (z[0, :, :2].float().mean(0).abs() < 0.2).all()


@pytest.mark.usefixtures("instruction_set")
@pytest.mark.parametrize("layout", ["channel last", "position last"])
@pytest.mark.parametrize("population", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_nan_stays_visible(dtype, population, layout):
    case = inputs((2, 40, 5), layout, dtype, population=population)
    case.u[1, 3, 2] = torch.nan
    broken = native.fire(*case).isnan()
    assert broken[1, 3, 2]
    assert broken.sum() == 1


@pytest.mark.parametrize("layout", ["channel last", "position last"])
@pytest.mark.parametrize("samples", [1, 5])
@pytest.mark.parametrize("population", [1, 4])
def test_samples_do_not_depend_on_threads(layout, samples, population):
    case = inputs((8, 300, 96), layout, samples=samples, population=population)
    before = torch.get_num_threads()
    try:
        drawn = []
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            drawn.append(native.fire(*case))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


def test_samples_do_not_depend_on_the_batch():
    case = inputs((7, 60, 33))
    together = native.fire(*case)
    for n in range(7):
        alone = native.fire(*case._replace(u=case.u[n : n + 1], rows=case.rows[n : n + 1]))
        assert torch.equal(alone, together[n : n + 1])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_output_keeps_the_memory_order_of_the_rows(layout):
    z = native.fire(*inputs((2, 30, 4), layout, samples=3))
    assert z.shape == (6, 30, 4)
    assert z.stride() == ((120, 1, 30) if layout == "position last" else (120, 4, 1))


@pytest.mark.parametrize("shape", [(0, 4, 3), (2, 0, 3), (2, 4, 0)], ids=str)
def test_empty_input_gives_empty_output(shape):
    case = inputs(shape)
    u = case.u.requires_grad_()
    z = native.fire(*case)
    z.sum().backward()
    assert z.shape == shape
    assert u.grad.shape == shape
