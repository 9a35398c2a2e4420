"""Decisions beside predictions on windows that were made anew."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import nsm
from nsm.data import events as ev
from nsm.data.simulated import simulate
from nsm.streams import NMNIST_WINDOW, StreamPredictor
from tests.data.events.recordings import random_events
from tests.streams import obvious

FRAMES = ev.TimeFrames(sensor_size=(6, 6, 2), bins=3, width=20_000, polarity="merged", binary=True)


class Small(torch.nn.Sequential):
    image = (3, 6, 6)


def small_net(seed=0):
    torch.manual_seed(seed)
    noisy = nsm.nn.Linear(3 * 36, 16, noise=nsm.Bernoulli(0.5), binary_input=False)
    net = Small(torch.nn.Flatten(), noisy, torch.nn.Linear(16, 4))
    nsm.nn.calibrate(net, torch.rand(50, 3, 6, 6).round())
    return net


NET = small_net()
PROGRAM = nsm.compile(NET)
EVENTS = random_events(300, (6, 6, 2), last=95_000)
WAYS = {"samples": {"samples": 7}, "confidence": {"confidence": 0.9, "max_samples": 12}}


def decided(events, places=(), net=NET, frames=FRAMES, **options):
    predictor = StreamPredictor(net, frames, **options)
    return list(predictor.decisions(obvious.cut(events, places)))


def same(one, two):
    assert [decision[:3] for decision in one] == [decision[:3] for decision in two]
    for a, b in zip(one, two, strict=True):
        for x, y in zip(a.prediction, b.prediction, strict=True):
            assert (x is None and y is None) or torch.equal(x, y)


@pytest.mark.parametrize("way", WAYS)
def test_a_decision_is_the_prediction_for_its_window(way):
    found = decided(EVENTS, seed=3, **WAYS[way])
    expected, _ = obvious.moments(EVENTS, FRAMES, 10_000)
    assert len(found) == len(expected) >= 9
    for decision, (number, time, frames) in zip(found, expected, strict=True):
        assert (decision.time, decision.number) == (time, number)
        x = torch.from_numpy(frames.astype(np.float32)).view(1, 3, 6, 6)
        prediction = nsm.predict(NET, x, seed=3, inputs=torch.tensor([number]), **WAYS[way])
        torch.testing.assert_close(decision.prediction.probabilities, prediction.probabilities)
        assert decision.prediction.samples_used == prediction.samples_used
        assert decision.label == prediction.probabilities.argmax()
        assert decision.probability == float(prediction.probabilities.max())


@pytest.mark.parametrize("way", WAYS)
@settings(deadline=None, max_examples=6)
@given(st.lists(st.integers(0, 700), max_size=12))
def test_cuts_change_no_bit(way, places):
    same(decided(EVENTS, places, **WAYS[way]), decided(EVENTS, **WAYS[way]))


def test_event_by_event_and_all_at_once():
    same(decided(EVENTS, range(300), samples=3), decided(EVENTS, samples=3))


def test_seeds_differ_and_repeat():
    one, again, other = (decided(EVENTS, samples=5, seed=seed) for seed in (1, 1, 2))
    same(one, again)
    different = [
        not torch.equal(a[4].probabilities, b[4].probabilities) for a, b in zip(one, other, strict=True)
    ]
    assert sum(different) > len(one) / 2


def test_the_same_window_is_sampled_anew_at_each_decision():
    events = ev.make([1, 2], [3, 4], [0, 1], [1, 1])
    predictor = StreamPredictor(NET, FRAMES, samples=5)
    predictor.feed(events)
    found = predictor.advance(40_000)
    assert [decision.time for decision in found] == [10_000, 20_000, 30_000, 40_000]
    assert len({tuple(decision.prediction.probabilities[0].tolist()) for decision in found}) > 1


def test_programs_decide_as_they_predict():
    net = nsm.models.build("nmnist-cnn")
    picture = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    picture[0, 0, 8:20, 12:16] = 255
    (events,) = simulate(picture, seed=0)
    events = events[events["t"] < 60_000]
    expected, _ = obvious.moments(events, NMNIST_WINDOW, 20_000)
    program = nsm.compile(net)
    found = decided(events, (10, 500), program, NMNIST_WINDOW, every=20_000, samples=4, seed=1)
    assert len(found) == len(expected) == 3
    for decision, (number, _, frames) in zip(found, expected, strict=True):
        x = torch.from_numpy(frames.astype(np.float32)).view(1, 10, 34, 34)
        prediction = program.predict(x, samples=4, seed=1, inputs=torch.tensor([number]))
        assert torch.equal(decision.prediction.probabilities, prediction.probabilities)


def test_programs_decide_until_settled():
    found = decided(EVENTS, (10, 200), PROGRAM, seed=3, **WAYS["confidence"])
    expected, _ = obvious.moments(EVENTS, FRAMES, 10_000)
    assert len(found) == len(expected) >= 9
    for decision, (number, _, frames) in zip(found, expected, strict=True):
        x = torch.from_numpy(frames.astype(np.float32)).view(1, 3, 6, 6)
        prediction = PROGRAM.predict(x, seed=3, inputs=torch.tensor([number]), **WAYS["confidence"])
        assert torch.equal(decision.prediction.probabilities, prediction.probabilities)
        assert torch.equal(decision.prediction.reasons, prediction.reasons)


def test_numbers_beyond_the_random_streams_begin_again():
    events = ev.make([1, 1], [1, 1], [0, 2**60], [1, 1])
    assert decided(events, samples=2, every=1000)[-1].number > 2**32


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"net": 3}, TypeError, r"net must be a torch.nn.Module"),
        ({"frames": NMNIST_WINDOW}, ValueError, r"frames must have shape \(B, 3, 6, 6\), which this network"),
        ({"net": PROGRAM, "confidence": 2}, ValueError, r"confidence must be in \(0, 1\)"),
        (
            {"net": PROGRAM, "frames": NMNIST_WINDOW},
            ValueError,
            r"frames must give images \(3, 6, 6\), which this program takes, got \(10, 34, 34\)",
        ),
        ({"samples": 0}, ValueError, "samples must be in"),
        ({"confidence": 1.0}, ValueError, r"confidence must be in \(0, 1\)"),
        ({"confidence": 0.9, "samples": 3}, ValueError, "samples must not be given with a confidence"),
        ({"max_samples": 3}, ValueError, "max_samples must be given with a confidence only"),
        ({"seed": -1}, ValueError, "seed must be in"),
        ({"every": 0}, ValueError, r"every must be in \[1, 2\^62\)"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        StreamPredictor(**{"net": NET, "frames": FRAMES, **change})
