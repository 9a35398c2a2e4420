"""A program asked with a confidence: against an obvious loop, in any batch, with and without kernels."""

import itertools
from dataclasses import replace

import pytest
import torch

import nsm
from nsm.engine import Program, plain
from nsm.engine.steps import Classifier
from nsm.inference import sequential
from tests.engine.nets import compiled, images
from tests.inference.test_settling import assert_settled_one_by_one

CONFIDENCE, MOST = 0.9, 30
FIELDS = ("probabilities", "entropy", "expected_entropy", "mutual_information", "samples_used", "reasons")


@pytest.fixture(params=["auto", "off"])
def kernels(request, monkeypatch):
    monkeypatch.setenv("NSM_KERNELS", request.param)


@pytest.fixture(scope="module", params=["vectors", "averaged"])
def case(request):
    """A program whose logits lie far enough apart for some inputs to be settled, and inputs."""
    *steps, last = compiled(request.param).steps
    assert isinstance(last, Classifier)
    program = Program((*steps, replace(last, scale=15.0 * last.scale)), vector=request.param == "vectors")
    return program, images(request.param, 12)


@pytest.mark.usefixtures("kernels")
def test_it_is_a_loop_that_ends_when_the_test_says_so(case):
    program, x = case
    inputs = torch.arange(12) + 2**32 - 12
    logits = plain.logits(
        program.steps, x.view(12, *program.image), samples=torch.arange(MOST), inputs=inputs, seed=8
    )
    got = program.predict(x, confidence=CONFIDENCE, max_samples=MOST, seed=8, inputs=inputs)
    assert_settled_one_by_one(got, logits, CONFIDENCE)
    assert got.reasons.tolist().count(nsm.Reason.SETTLED) > 0
    assert len(set(got.samples_used.tolist())) > 3


def test_answers_do_not_depend_on_the_batch(case, monkeypatch):
    program, x = case
    places = torch.arange(12)
    asked = {"confidence": CONFIDENCE, "max_samples": MOST}
    whole = program.predict(x, **asked)

    def assert_same(got, part):
        for name in FIELDS:
            assert torch.equal(getattr(got, name), getattr(whole, name)[part]), name

    for part in (places[:1], places[3:10], places.flip(0), places[::5]):
        assert_same(program.predict(x[part], inputs=part, **asked), part)
    monkeypatch.setattr(sequential, "_STATE_BYTES", 5 * 8 * 4 * program.classes**2)
    assert_same(program.predict(x, **asked), places)


def test_samples_are_those_of_a_fixed_number(case):
    program, x = case
    fixed = program.predict(x, samples=13, seed=4)
    *_, improved = program.predictions(x, max_samples=13, seed=4)
    for name in FIELDS[:-1]:
        torch.testing.assert_close(getattr(improved, name), getattr(fixed, name), rtol=1e-5, atol=1e-6)
    assert improved.reasons.tolist() == [nsm.Reason.LIMIT] * 12


def test_predictions_improve_to_that_of_predict(case):
    program, x = case
    seen = list(program.predictions(x, confidence=CONFIDENCE, max_samples=MOST))
    whole = program.predict(x, confidence=CONFIDENCE, max_samples=MOST)
    assert seen[0].samples_used.max() <= 4
    for before, after in itertools.pairwise(seen):
        running = before.reasons == nsm.Reason.RUNNING
        assert running.any()
        assert (after.samples_used[running] > before.samples_used[running]).all()
        assert torch.equal(after.probabilities[~running], before.probabilities[~running])
    for name in FIELDS:
        assert torch.equal(getattr(seen[-1], name), getattr(whole, name))


def test_a_deadline_ends_it(case):
    program, x = case
    *_, last = program.predictions(x, max_samples=10**7, milliseconds=30)
    assert last.reasons.tolist() == [nsm.Reason.DEADLINE] * 12
    assert last.probabilities.isfinite().all()


@pytest.mark.usefixtures("kernels")
def test_inputs_that_are_not_finite_are_named_as_the_caller_numbers_them(monkeypatch):
    monkeypatch.setattr(sequential, "_STATE_BYTES", 1)
    x = torch.zeros(5, 20)
    x[3, 2] = torch.nan
    with pytest.raises(ValueError, match="x must be finite, but input 3 holds NaN or infinity"):
        compiled("vectors").predict(x, confidence=0.9, max_samples=3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"confidence": 0.9, "samples": 5}, ValueError, "samples must not be given with a confidence, got 5"),
        ({"confidence": 0.9, "votes": True}, ValueError, "votes must be False with a confidence"),
        ({"max_samples": 5}, ValueError, "max_samples must be given with a confidence only, got 5"),
        ({"confidence": 1.0}, ValueError, r"confidence must be in \(0, 1\), got 1.0"),
        ({"confidence": 0.9, "max_samples": 0}, ValueError, r"max_samples must be in \[1, 2\^32\], got 0"),
        ({"confidence": 0.9, "noise": 2.0}, TypeError, "noise must be a MarginNoise, got float"),
        ({"confidence": 0.9, "x": torch.zeros(2, 3)}, ValueError, r"x must have shape \(B, 20\)"),
    ],
)
def test_impossible_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        compiled("vectors").predict(**{"x": torch.zeros(2, 20), **arguments})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"milliseconds": 0}, ValueError, "milliseconds must be > 0, got 0"),
        ({"confidence": 2}, ValueError, r"confidence must be in \(0, 1\), got 2"),
        ({"inputs": torch.arange(3)}, ValueError, r"inputs must have shape \(2,\)"),
    ],
)
def test_an_iterator_refuses_them_before_it_is_used(arguments, error, message):
    with pytest.raises(error, match=message):
        compiled("vectors").predictions(torch.zeros(2, 20), **arguments)
