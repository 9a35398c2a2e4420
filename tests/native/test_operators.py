"""The operator as torch and the caller see it: registration, compilation, checks, choice of the path."""

import logging
import sys
from types import ModuleType

import pytest
import torch

from nsm import functional, native
from nsm.native import operators, paths
from tests.native.cases import inputs


@pytest.mark.parametrize("kernels", ["auto", "off"])
@pytest.mark.parametrize("layout", ["channel last", "position last", "neither"])
@pytest.mark.parametrize("population", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_registration_is_sound(monkeypatch, dtype, population, layout, kernels):
    monkeypatch.setenv("NSM_KERNELS", kernels)
    case = inputs((2, 6, 5), layout, dtype, samples=2, population=population)
    leaves = [x.detach().requires_grad_() for x in case.differentiable]
    torch.library.opcheck(
        torch.ops.nsm.fire.default, (*leaves, case.seed, case.rows, case.place, "probability")
    )
    grad = torch.ones(4, 6, 5, dtype=dtype)
    torch.library.opcheck(torch.ops.nsm.fire_backward.default, (grad, *case.differentiable, "probability"))


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.parametrize("layout", ["channel last", "position last"])
def test_compiles_without_graph_breaks(layout):
    case = inputs((3, 20, 8), layout)

    def loss(u, scale, shift):
        return (native.fire(u * 1.0, scale, shift, case.seed, case.rows, case.place) * u).sum()

    results = []
    for call in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        leaves = [x.detach().requires_grad_() for x in case.differentiable]
        value = call(*leaves)
        value.backward()
        results.append((value.detach(), *(leaf.grad for leaf in leaves)))
    for eager, compiled in zip(*results, strict=True):
        torch.testing.assert_close(compiled, eager)


@pytest.mark.parametrize("population", [1, 3])
def test_plain_torch_gives_the_same_samples_and_gradients(monkeypatch, population):
    case = inputs((3, 20, 8), "position last", samples=2, population=population)
    results = []
    for choice in ("auto", "off"):
        monkeypatch.setenv("NSM_KERNELS", choice)
        leaves = [x.detach().requires_grad_() for x in case.differentiable]
        z = native.fire(*leaves, case.seed, case.rows, case.place)
        z.square().mul(0.5).sum().backward()
        results.append((z.detach(), *(leaf.grad for leaf in leaves)))
    assert torch.equal(results[0][0], results[1][0])
    assert results[0][0].stride() == results[1][0].stride()
    for kernel, plain in zip(*results, strict=True):
        torch.testing.assert_close(kernel, plain, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("part", [1, 400, 10_000])
@pytest.mark.parametrize("population", [1, 3])
def test_plain_torch_draws_the_same_in_parts(monkeypatch, population, part):
    monkeypatch.setenv("NSM_KERNELS", "off")
    case = inputs((3, 20, 8), samples=2, population=population)
    monkeypatch.setattr(operators, "_PART", part)
    assert torch.equal(native.fire(*case), functional.fire(*case))


def test_float64_draws_the_samples_of_float32():
    case = inputs((2, 30, 7))
    wide = native.fire(case.u.double(), *case[1:])
    assert wide.dtype == torch.float64
    assert torch.equal(wide.float(), native.fire(*case))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"u": torch.zeros(2, 3)}, ValueError, r"u must have shape \(N, P, C\), got \(2, 3\)"),
        ({"u": torch.zeros(2, 6, 5, dtype=torch.int64)}, TypeError, "u must be float32, bfloat16 or float64"),
        ({"scale": torch.zeros(2, 5)}, ValueError, r"scale and shift must both .* got scale \(2, 5\)"),
        ({"shift": torch.zeros(6, 5)}, ValueError, r"scale and shift must both .* got shift \(6, 5\)"),
        ({"shift": torch.zeros(0, 1, 5)}, ValueError, r"population, got shift \(0, 1, 5\)"),
        ({"shift": torch.zeros(3, 2, 5)}, ValueError, r"population, got shift \(2, 5\)"),
        ({"shift": torch.zeros(1, 5).bfloat16()}, TypeError, "shift must be float32 or float64"),
        ({"seed": torch.zeros(1, dtype=torch.int64)}, TypeError, "seed must be an int64 scalar"),
        ({"rows": torch.zeros(2, 2)}, TypeError, r"rows must be int64 of shape \(R, 2\)"),
        ({"rows": torch.zeros(3, 2, dtype=torch.int64)}, ValueError, "multiple of the 2 inputs, got 3"),
        (
            {"rows": torch.tensor([[0, 2**32], [0, 0]])},
            ValueError,
            r"rows .* \[0, 2\^32\), got 0 to 4294967296",
        ),
        ({"rows": torch.tensor([[0, -1], [0, 0]])}, ValueError, r"rows .* \[0, 2\^32\), got -1 to 0"),
        ({"seed": torch.tensor(-1)}, ValueError, r"seed must be in \[0, 2\^63\), got -1"),
        ({"place": 2**32}, ValueError, r"place must be in \[0, 2\^32\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        native.fire(*inputs((2, 6, 5))._replace(**change))


def test_the_last_neuron_of_a_population_needs_a_place_too():
    case = inputs((2, 6, 5), population=3)
    native.fire(*case._replace(place=2**32 - 33))
    with pytest.raises(ValueError, match=r"place .* below 2\^32 .* all 3 neurons .* got 4294967264"):
        native.fire(*case._replace(place=2**32 - 32))


def test_unknown_estimator_is_refused():
    with pytest.raises(
        ValueError, match="estimator must be one of probability, straight-through, smoothed, got 'x'"
    ):
        native.fire(*inputs((2, 6, 5)), "x")


class TestChoice:
    def test_unknown_value_is_refused(self, monkeypatch):
        monkeypatch.setenv("NSM_KERNELS", "fast")
        with pytest.raises(
            ValueError,
            match="NSM_KERNELS must be one of auto, portable, avx2, avx512, amx, neon, off, got 'fast'",
        ):
            native.active()

    def test_off_is_torch(self, monkeypatch):
        monkeypatch.setenv("NSM_KERNELS", "off")
        assert (native.active(), native.instruction_set()) == ("torch", "off")

    @pytest.mark.skipif(native.active() != "native", reason="the C++ kernels are not installed")
    def test_an_instruction_set_can_be_named(self, monkeypatch):
        monkeypatch.setenv("NSM_KERNELS", "portable")
        assert (native.active(), native.instruction_set()) == ("native", "portable")
        monkeypatch.setenv("NSM_KERNELS", "auto")
        assert native.instruction_set() == paths.instruction_sets()[0]

    def test_operators_run_on_the_fixtures_instruction_set(self, instruction_set, monkeypatch):
        if instruction_set == "none":
            pytest.skip("the C++ kernels are not installed")
        used = []
        kernels = ModuleType("kernels")
        kernels.__getattr__ = lambda name: lambda **job: used.append(job["instruction_set"])
        monkeypatch.setattr(paths, "_extension", lambda: kernels)
        native.fire(*inputs((2, 6, 5)))
        assert set(used) == {instruction_set}

    @pytest.mark.skipif(native.active() != "native", reason="the C++ kernels are not installed")
    def test_an_instruction_set_that_the_processor_lacks_is_refused(self, monkeypatch):
        monkeypatch.setattr(paths, "instruction_sets", lambda: ("avx2", "portable"))
        monkeypatch.setenv("NSM_KERNELS", "avx512")
        with pytest.raises(ValueError, match=r"NSM_KERNELS=avx512, but on .* run on avx2, portable"):
            native.active()

    @pytest.fixture
    def without_extension(self, monkeypatch):
        paths._say_missing.cache_clear()
        reason = ImportError("no such file")
        monkeypatch.setattr(paths, "_extension", lambda: reason)
        yield
        paths._say_missing.cache_clear()

    @pytest.mark.usefixtures("without_extension")
    def test_missing_extension_is_said_once(self, monkeypatch, caplog):
        monkeypatch.delenv("NSM_KERNELS", raising=False)
        case = inputs((2, 6, 5))
        with caplog.at_level(logging.WARNING):
            assert (native.active(), native.instruction_set()) == ("torch", "off")
            assert torch.equal(native.fire(*case), functional.fire(*case))
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "no such file" in caplog.text

    def test_a_missing_extension_is_named(self, monkeypatch):
        monkeypatch.delattr(native, "_kernels", raising=False)
        monkeypatch.setitem(sys.modules, "nsm.native._kernels", None)
        reason = paths._extension.__wrapped__()
        assert isinstance(reason, ImportError)
        assert "nsm.native._kernels" in str(reason)

    @pytest.mark.usefixtures("without_extension")
    def test_native_without_extension_is_refused(self, monkeypatch):
        monkeypatch.setenv("NSM_KERNELS", "avx2")
        with pytest.raises(ValueError, match=r"NSM_KERNELS=avx2, but .* not installed: no such file"):
            native.active()
