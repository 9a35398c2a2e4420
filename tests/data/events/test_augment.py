"""Random changes of recordings."""

import dataclasses
import json

import numpy as np
import pytest

from nsm.data import events as ev
from tests.data.events.recordings import random_events

SENSOR = (34, 34, 2)
ALL = ev.EventAugmentation(shift=3, flip=True, drop=0.2, jitter=500.0)


def test_a_change_belongs_to_seed_epoch_and_example():
    events = random_events()
    before = events.copy()
    first = ALL(events, SENSOR, seed=1, example=7, epoch=2)
    assert np.array_equal(first, ALL(events, SENSOR, seed=1, example=7, epoch=2))
    for other in ({"seed": 2}, {"example": 8}, {"epoch": 3}):
        changed = ALL(events, SENSOR, **{"seed": 1, "example": 7, "epoch": 2, **other})
        assert not np.array_equal(first, changed)
    assert np.array_equal(events, before)


def test_nothing_asked_for_is_nothing_done():
    events = random_events()
    assert np.array_equal(ev.EventAugmentation()(events, SENSOR, seed=0, example=0), events)


def test_every_shift_is_met_and_what_leaves_is_lost():
    events, found = random_events(), set()
    for example in range(400):
        moved = ev.EventAugmentation(shift=2)(events, SENSOR, seed=0, example=example)
        matches = [
            (dx, dy)
            for dx in range(-2, 3)
            for dy in range(-2, 3)
            if moved.tolist()
            == [
                (x + dx, y + dy, t, p)
                for x, y, t, p in events.tolist()
                if 0 <= x + dx < 34 and 0 <= y + dy < 34
            ]
        ]
        assert len(matches) == 1
        found.add(matches[0])
    assert len(found) == 25


def test_half_of_the_recordings_are_mirrored():
    events = random_events()
    flip, mirrored = ev.EventAugmentation(flip=True), events.copy()
    mirrored["x"] = 33 - events["x"]
    count = 0
    for example in range(400):
        changed = flip(events, SENSOR, seed=0, example=example)
        count += np.array_equal(changed, mirrored)
        assert np.array_equal(changed, mirrored) or np.array_equal(changed, events)
    assert 150 < count < 250


def test_events_are_dropped_with_their_probability():
    events = random_events(50_000)
    kept = ev.EventAugmentation(drop=0.3)(events, SENSOR, seed=0, example=0)
    assert abs(len(kept) / 50_000 - 0.7) < 6 * (0.21 / 50_000) ** 0.5
    assert np.isin(kept, events).all()


def test_times_are_jittered_by_their_spread_and_sorted():
    n = 50_000
    events = ev.make(np.arange(n) % 34, np.arange(n) // 34 % 34, np.full(n, 10_000_000), np.ones(n))
    changed = ev.EventAugmentation(jitter=300.0)(events, SENSOR, seed=0, example=0)
    assert (np.diff(changed["t"]) >= 0).all()
    offset = changed["t"] - 10_000_000
    assert abs(offset.mean()) < 6 * 300 / n**0.5
    assert abs(offset.std() / 300 - 1) < 0.02
    early = ev.make([0] * 100, [0] * 100, [0] * 100, [0] * 100)
    assert ev.EventAugmentation(jitter=300.0)(early, SENSOR, seed=0, example=0)["t"].min() >= 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shift": -1}, r"shift must be a whole number in \[0, 2147483647\], got -1"),
        ({"shift": 1.5}, r"shift must be a whole number in \[0, 2147483647\], got 1.5"),
        ({"shift": True}, r"shift must be a whole number in \[0, 2147483647\], got True"),
        ({"shift": np.array([1, 2])}, "shift must be a whole number"),
        ({"flip": 1}, "flip must be True or False, got 1"),
        ({"drop": "0.1"}, "drop must be a number, got '0.1'"),
        ({"jitter": True}, "jitter must be a number, got True"),
        ({"drop": 1.0}, r"drop must be in \[0, 1\), got 1.0"),
        ({"shift": 2**31}, r"shift must be a whole number in \[0, 2147483647\], got 2147483648"),
        ({"jitter": float("nan")}, r"jitter must be in \[0, 2\^53\] \(us\), got nan"),
        ({"jitter": 1e300}, r"jitter must be in \[0, 2\^53\] \(us\), got 1e\+300"),
    ],
)
def test_impossible_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ev.EventAugmentation(**fields)


@pytest.mark.parametrize("name", ["example", "epoch"])
@pytest.mark.parametrize("value", [-1, 2**32, 1.0, True, "1", None])
def test_numbers_that_no_recording_has_are_refused(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be a whole number in \[0, 4294967295\], got"):
        ALL(random_events(), SENSOR, **{"seed": 0, "example": 0, name: value})


@pytest.mark.parametrize(
    ("events", "came"), [([(1, 2, 3, True)], "list"), (None, "NoneType"), (np.zeros((2, 4)), "float64 of")]
)
def test_what_are_no_events_is_refused(events, came):
    with pytest.raises(ValueError, match=f"events must be a structured array .*, got {came}"):
        ev.EventAugmentation(shift=1)(events, (34, 34, 2), seed=0, example=0)


def test_numbers_of_numpy_do_as_well():
    events, last = random_events(), 2**32 - 1
    other = ev.EventAugmentation(
        shift=np.int64(3), flip=np.bool_(True), drop=np.float64(0.2), jitter=np.float32(500.0)
    )
    assert other == ALL
    assert json.dumps(dataclasses.asdict(other)) == json.dumps(dataclasses.asdict(ALL))
    plain = ALL(events, SENSOR, seed=0, example=last, epoch=last)
    assert np.array_equal(other(events, SENSOR, seed=0, example=np.int64(last), epoch=np.uint32(last)), plain)


def test_a_shift_beyond_the_fields_leaves_nothing():
    changed = ev.EventAugmentation(shift=2**31 - 1)(random_events(), SENSOR, seed=0, example=0)
    assert len(changed) == 0


def test_the_largest_jitter_overflows_no_time():
    events = random_events()
    events["t"] += 2**62
    changed = ev.EventAugmentation(jitter=2.0**53)(events, SENSOR, seed=0, example=0)
    assert abs(changed["t"] - 2**62).max() < 7 * 2**53
