"""Sampling until settled: against an obvious loop, in any batch, and stopped at any time."""

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

import nsm
from nsm.inference import sequential
from nsm.inference.settling import MarginNoise
from tests.inference.nets import NETS, exact, pixels, rectifiers
from tests.inference.test_settling import assert_settled_one_by_one

CONFIDENCE, MOST = 0.9, 40
FLOATS = ("probabilities", "entropy", "expected_entropy", "mutual_information")


def clear(kind: str) -> nn.Module:
    """A network of ``NETS`` whose logits lie far enough apart for some inputs to be settled."""
    net = exact(kind)
    with torch.no_grad():
        net[-1].weight.mul_(8.0)
    return net


def obvious_logits(net: nn.Module, x: Tensor, samples: int, seed: int, inputs: Tensor) -> Tensor:
    logits = []
    with torch.no_grad():
        for sample in range(samples):
            with nsm.nn.draws(net, seed=seed, samples=sample, inputs=inputs):
                logits.append(net(x))
    return torch.stack(logits, 1)


@pytest.mark.parametrize("kind", NETS)
def test_it_is_a_loop_that_ends_when_the_test_says_so(kind: str) -> None:
    net, x, inputs = clear(kind), pixels(30), torch.arange(100, 130)
    logits = obvious_logits(net, x, MOST, 8, inputs)
    got = nsm.predict(net, x, confidence=CONFIDENCE, max_samples=MOST, seed=8, inputs=inputs)
    assert_settled_one_by_one(got, logits, CONFIDENCE)
    reasons = got.reasons.tolist()
    assert 0 < reasons.count(nsm.Reason.SETTLED) < 30
    assert len(set(got.samples_used.tolist())) > 3


@pytest.mark.parametrize("kind", NETS)
def test_answers_do_not_depend_on_the_batch(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    net, x, inputs = clear(kind), pixels(40), torch.arange(40)
    arguments = {"confidence": CONFIDENCE, "max_samples": MOST}
    whole = nsm.predict(net, x, **arguments)

    def assert_same(got: nsm.Prediction, part: Tensor) -> None:
        assert torch.equal(got.samples_used, whole.samples_used[part])
        assert torch.equal(got.reasons, whole.reasons[part])
        for name in FLOATS:
            torch.testing.assert_close(
                getattr(got, name), getattr(whole, name)[part], rtol=1e-6, atol=1e-7, msg=name
            )

    for part in (inputs[:1], inputs[3:10], inputs.flip(0), inputs[::7]):
        assert_same(nsm.predict(net, x[part], inputs=part, **arguments), part)
    for memory in (1e-6, 0.01):
        assert_same(nsm.predict(net, x, memory_mib=memory, **arguments), inputs)
    monkeypatch.setattr(sequential, "_STATE_BYTES", 7 * 8 * 3**2)
    assert_same(nsm.predict(net, x, **arguments), inputs)


def test_noisy_rectifiers_settle_too() -> None:
    torch.manual_seed(0)
    got = nsm.predict(rectifiers(), torch.rand(5, 1, 8, 8), confidence=0.6, max_samples=30)
    assert set(got.reasons.tolist()) <= {nsm.Reason.SETTLED, nsm.Reason.LIMIT, nsm.Reason.FUTILE}


def test_more_confidence_takes_more_samples() -> None:
    net, x = clear("conv"), pixels(50)
    found = [nsm.predict(net, x, confidence=confidence, max_samples=200) for confidence in (0.5, 0.9, 0.999)]
    for less, more in itertools.pairwise(found):
        both = (less.reasons == nsm.Reason.SETTLED) & (more.reasons == nsm.Reason.SETTLED)
        assert both.sum() > 20
        assert (less.samples_used[both] <= more.samples_used[both]).all()
    assert found[0].samples_used.sum() < found[2].samples_used.sum()


def test_a_noisier_law_takes_more_samples() -> None:
    net, x = clear("conv"), pixels(20)
    used = [
        int(nsm.predict(net, x, confidence=0.9, noise=MarginNoise(scale, 10.0)).samples_used.sum())
        for scale in (0.1, 10.0)
    ]
    assert used[0] < used[1]


@pytest.mark.parametrize("fidelity", ["mean", "marginal", "threshold"])
def test_a_network_that_draws_nothing_takes_one_pass(fidelity: nsm.nn.Fidelity) -> None:
    net, x = exact("mlp"), pixels(5)
    with nsm.fidelity(fidelity):
        got = nsm.predict(net, x, confidence=0.99)
        torch.testing.assert_close(got.probabilities, net(x).softmax(-1))
    assert got.samples_used.tolist() == [1] * 5
    assert got.reasons.tolist() == [nsm.Reason.EXACT] * 5


def test_reasons_of_fixed_numbers() -> None:
    assert nsm.predict(exact("mlp"), pixels(2), samples=3).reasons.tolist() == [nsm.Reason.SAMPLES] * 2
    twin = nsm.models.build("digits-mlp", model="twin")
    assert nsm.predict(twin, torch.rand(1, 1, 8, 8)).reasons.tolist() == [nsm.Reason.EXACT]
    assert nsm.predict(exact("mlp"), pixels(1)).samples_used.tolist() == [100]


@pytest.mark.parametrize("confidence", [None, CONFIDENCE])
def test_predictions_improve_to_that_of_predict(confidence: float | None) -> None:
    net, x = clear("conv"), pixels(20)
    seen = list(nsm.predictions(net, x, confidence=confidence, max_samples=MOST))
    if confidence is None:
        whole = nsm.predict(net, x, samples=MOST)
    else:
        whole = nsm.predict(net, x, confidence=confidence, max_samples=MOST)
    for name in (*FLOATS, "samples_used"):
        torch.testing.assert_close(getattr(seen[-1], name), getattr(whole, name))
    assert seen[0].samples_used.tolist() == [1] * 20
    for before, after in itertools.pairwise(seen):
        running = before.reasons == nsm.Reason.RUNNING
        assert running.any()
        assert (after.samples_used[running] > before.samples_used[running]).all()
        assert torch.equal(after.samples_used[~running], before.samples_used[~running])
        assert torch.equal(after.probabilities[~running], before.probabilities[~running])
    assert not (seen[-1].reasons == nsm.Reason.RUNNING).any()


def test_predictions_may_be_left_at_any_time() -> None:
    net = exact("mlp").train()
    for prediction in nsm.predictions(net, pixels(3), max_samples=10**6):
        if prediction.samples_used.max() >= 5:
            break
    assert net.training


class Clock:
    """Every look at it takes a tick, and so every pass two."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


def test_a_deadline_ends_it_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(sequential.time, "perf_counter", clock)
    seen = list(nsm.predictions(exact("mlp"), pixels(3), max_samples=10**6, milliseconds=20))
    assert clock.now <= 0.021 + 1e-9
    assert len(seen) > 5
    assert seen[-1].reasons.tolist() == [nsm.Reason.DEADLINE] * 3
    assert seen[-1].probabilities.isfinite().all()
    first = list(nsm.predictions(exact("mlp"), pixels(3), milliseconds=1e-6))
    assert [p.samples_used.tolist() for p in first] == [[1, 1, 1]]


def test_no_pass_begins_after_a_caller_that_took_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(sequential.time, "perf_counter", clock)
    seen = []
    for prediction in nsm.predictions(exact("mlp"), pixels(3), milliseconds=100):
        seen.append((prediction.samples_used.tolist(), prediction.reasons.tolist()))
        clock.now += 1.0
    running, deadline = ([int(reason)] * 3 for reason in (nsm.Reason.RUNNING, nsm.Reason.DEADLINE))
    assert seen == [([1] * 3, running), ([1] * 3, deadline)]


def test_only_a_test_keeps_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(sequential, "Margins")
    assert len(list(nsm.predictions(exact("mlp"), pixels(3), max_samples=10))) == 9
    twin = nsm.models.build("digits-mlp", model="twin")
    assert nsm.predict(twin, torch.rand(1, 1, 8, 8), confidence=CONFIDENCE).samples_used.tolist() == [1]


def test_a_real_deadline_is_kept_within_a_pass() -> None:
    net, x = nsm.models.build("digits-mlp"), torch.rand(4, 1, 8, 8)
    *_, last = nsm.predictions(net, x, max_samples=10**6, milliseconds=200)
    assert last.samples_used.min() >= 1
    assert last.reasons.tolist() == [nsm.Reason.DEADLINE] * 4


def test_broken_weights_show() -> None:
    net = exact("mlp")
    with torch.no_grad():
        net[1].product.weight[0, 0] = math.nan
    got = nsm.predict(net, pixels(2), confidence=0.9, max_samples=3)
    assert got.probabilities.isnan().all()
    assert got.reasons.tolist() == [nsm.Reason.LIMIT] * 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"confidence": 0.9, "samples": 5}, ValueError, "samples must not be given with a confidence, got 5"),
        ({"confidence": 0.9, "votes": True}, ValueError, "votes must be False with a confidence"),
        ({"max_samples": 5}, ValueError, "max_samples must be given with a confidence only, got 5"),
        ({"noise": MarginNoise()}, ValueError, "noise must be given with a confidence only"),
        ({"confidence": 1.0}, ValueError, r"confidence must be in \(0, 1\), got 1.0"),
        ({"confidence": 0}, ValueError, r"confidence must be in \(0, 1\), got 0"),
        ({"confidence": math.nan}, ValueError, r"confidence must be in \(0, 1\), got nan"),
        ({"confidence": "0.9"}, TypeError, "confidence must be a number, got str"),
        ({"confidence": 0.9, "max_samples": 0}, ValueError, r"max_samples must be in \[1, 2\^32\], got 0"),
        ({"confidence": 0.9, "max_samples": 1.5}, TypeError, "max_samples must be an int, got float"),
        ({"confidence": 0.9, "noise": 2.0}, TypeError, "noise must be a MarginNoise, got float"),
    ],
)
def test_impossible_arguments_are_refused(
    arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        nsm.predict(exact("mlp"), pixels(2), **arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"milliseconds": 0}, ValueError, "milliseconds must be > 0, got 0"),
        ({"milliseconds": math.nan}, ValueError, "milliseconds must be > 0, got nan"),
        ({"milliseconds": "5"}, TypeError, "milliseconds must be a number, got str"),
        ({"confidence": 2}, ValueError, r"confidence must be in \(0, 1\), got 2"),
        ({"max_samples": 0}, ValueError, "max_samples must be in"),
        ({"inputs": torch.arange(3)}, ValueError, r"inputs must have shape \(2,\)"),
        ({"noise": 2.0}, TypeError, "noise must be a MarginNoise, got float"),
    ],
)
def test_an_iterator_refuses_them_before_it_is_used(
    arguments: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        nsm.predictions(exact("mlp"), pixels(2), **arguments)
