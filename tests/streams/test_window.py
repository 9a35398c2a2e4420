"""The window kept up to date beside the one made anew."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsm import native
from nsm.data import events as ev
from nsm.streams import GESTURE_WINDOW, NMNIST_WINDOW, Counts, SlidingWindow, window_of
from tests.data.events.recordings import random_events
from tests.streams import obvious

SMALL = ev.TimeFrames(sensor_size=(5, 4, 2), bins=3, width=20)
FORMS = ["auto", "off"] if native.active() == "native" else ["off"]


@pytest.fixture(params=FORMS, autouse=True)
def _kernels(request, monkeypatch):
    monkeypatch.setenv("NSM_KERNELS", request.param)


def run(events, frames, every, places=()):
    window = SlidingWindow(frames, every=every)
    found = [moment for part in obvious.cut(events, places) for moment in window.feed(part)]
    return [*found, *window.finish()], window.counts


def check(events, frames, every, places=()):
    found, counts = run(events, frames, every, places)
    expected, expected_counts = obvious.moments(events, frames, every)
    assert counts._asdict() == expected_counts
    assert [moment[:2] for moment in found] == [moment[:2] for moment in expected]
    for moment, (_, _, seen) in zip(found, expected, strict=True):
        assert moment.frames.dtype == seen.dtype
        assert np.array_equal(moment.frames, seen)
    return found, counts


def streams():
    """Times that run on with some disorder, pauses, duplicates and pixels off the sensor."""
    event = st.tuples(st.integers(-1, 5), st.integers(-1, 4), st.integers(-90, 60), st.booleans())
    jump = st.sampled_from([0, 0, 0, 0, 1, 7, 19, 200])

    def build(rows):
        now, made = 1000, []
        for (x, y, shift, p), step, again in rows:
            now += step
            made.append((x, y, now + min(shift, 0) if shift < -60 else now + shift // 20, p))
            if again:
                made.append(made[-again % len(made)])
        return np.array(made, ev.EVENT)

    return st.lists(st.tuples(event, jump, st.sampled_from([0, 0, 0, 1, 2, 5])), max_size=60).map(build)


@settings(deadline=None, max_examples=50)
@given(
    streams(),
    st.lists(st.integers(0, 100), max_size=6),
    st.sampled_from([10, 20, 15, 60, 7, 90, 3]),
    st.sampled_from(["both", "merged", "on", "off"]),
    st.booleans(),
    st.sampled_from([1, 2]),
)
def test_it_is_the_window_made_anew(events, places, every, polarity, binary, shrink):
    frames = ev.TimeFrames(
        sensor_size=(5, 4, 2), bins=3, width=20, polarity=polarity, binary=binary, shrink=shrink
    )
    check(events, frames, every, places)


@pytest.mark.parametrize(("frames", "every"), [(NMNIST_WINDOW, 10_000), (GESTURE_WINDOW, 8_000)])
def test_what_the_published_networks_see(frames, every):
    events = random_events(3000, frames.sensor_size, last=500_000)
    found, counts = check(events, frames, every, places=(100, 1000, 1001))
    assert counts.taken + counts.duplicate == 3000
    assert abs(len(found) - 500_000 / every) <= 1


def test_a_window_full_for_the_first_time_is_the_recording():
    events = random_events(2000, last=299_999)
    events["t"][[0, -1]] = 0, 299_999
    events["t"] += 5_000
    (*_, last), _ = run(events, NMNIST_WINDOW, 10_000)
    whole = ev.TimeFrames(sensor_size=(34, 34, 2), bins=10, polarity="merged", binary=True)
    assert np.array_equal(last.frames, whole(events))


def test_late_duplicate_and_outside():
    x = [1, 1, 1, 1, 5, 0, 0, 2, 2, 2, 2]
    t = [0, 10, 10, 10, 10, -1, 2**62, 100, 39, 40, 99]
    p = [1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1]
    events = ev.make(x, [0] * len(x), t, p)
    # At 100 the decision of 120 is waited for, whose window begins at 60.
    _, counts = check(events, SMALL, 20)
    assert counts == Counts(taken=5, late=2, duplicate=1, outside=3)


def test_the_same_recording_again_is_dropped_whole():
    # Each pixel and polarity has at most eight events.
    events = ev.make(np.arange(40) % 5, np.arange(40) % 4, np.arange(40), np.zeros(40))
    window = SlidingWindow(SMALL, every=20)
    for _ in range(3):
        list(window.feed(events))
    assert window.counts == Counts(taken=40, late=0, duplicate=80, outside=0)


def test_other_integers_do_not_wrap_around():
    kind = np.dtype([("t", "<u8"), ("p", "u1"), ("x", "<i8"), ("y", ">u4")])
    events = np.zeros(6, kind)
    events["x"] = [1, 65_537, -1, 2, 2, 3]
    events["y"] = [1, 1, 1, 2**32 - 1, 3, 2]
    events["t"] = [5, 5, 5, 5, 2**63 + 5, 6]
    events["p"] = [1, 1, 1, 1, 1, 0]
    found, counts = run(events, SMALL, 20)
    assert counts == Counts(taken=2, late=0, duplicate=0, outside=4)
    assert found[0].frames[0, :, 1, 1].tolist() == [0, 1]
    assert found[0].frames[0, :, 2, 3].tolist() == [1, 0]


def test_steps_between_records_do_not_matter():
    events = random_events(400, (5, 4, 2), last=200)
    (one, counts), (two, counts_two) = (run(each, SMALL, 10) for each in (events[::2], events[::2].copy()))
    assert counts == counts_two
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(one, two, strict=True))


def test_long_silence_costs_nothing_and_empty_windows_are_left_out():
    events = ev.make([0, 1, 2], [0] * 3, [0, 2**61, 2**62 - 1], [1] * 3)
    found, _ = run(events, SMALL, 1)
    # Each event is seen by the decisions of the 60 us after it; the first window begins with its event.
    assert [int(moment.frames.sum()) for moment in found] == [1] * (60 + 60 + 1)


def test_time_passes_without_events():
    window = SlidingWindow(SMALL, every=20)
    assert list(window.advance(10**9)) == []
    assert list(window.feed(ev.make([1], [1], [100], [1]))) == []
    assert [moment.time for moment in window.advance(139)] == [120]
    assert [moment.time for moment in window.advance(10**6)] == [140, 160]
    assert list(window.finish()) == []
    list(window.feed(ev.make([1, 1], [1, 1], [10**6 - 1000, 10**6], [1, 1])))
    assert window.counts == Counts(taken=2, late=1, duplicate=0, outside=0)


@pytest.mark.parametrize(
    ("frames", "every", "message"),
    [
        (ev.TimeFrames(sensor_size=(5, 4, 2), bins=3), 10, "frames must have a width"),
        (SMALL, 0, r"every must be in \[1, 2\^62\) \(us\), got 0"),
        (NMNIST_WINDOW, 10**13, "every must be shorter: 10000000000000 us would take 1000000000 frames"),
        (SMALL, 2**62, r"every must be in \[1, 2\^62\)"),
        (
            NMNIST_WINDOW,
            10_001,
            "every must have a longer common divisor with the bins of 30000 us: 10001 us",
        ),
        (
            ev.TimeFrames(sensor_size=(2049, 1024, 2), bins=3, width=20),
            20,
            "frames must be of a sensor of at most 2097152 pixels, got 2049 x 1024",
        ),
        # 39 MiB of frames beside 252 MiB of times.
        (
            ev.TimeFrames(
                sensor_size=(2016, 1024, 2), bins=4, width=20, polarity="on", shrink=2, binary=True
            ),
            1,
            "every must have a longer common divisor with the bins of 20 us: 1 us would take 80 frames",
        ),
    ],
)
def test_what_cannot_be_kept_is_refused(frames, every, message):
    with pytest.raises(ValueError, match=message):
        SlidingWindow(frames, every=every)


def test_other_types_are_refused():
    with pytest.raises(TypeError, match="frames must be TimeFrames, got tuple"):
        SlidingWindow((2, 4, 5), every=10)
    for every in (10.0, "10", True, None):
        with pytest.raises(TypeError, match=r"every must be a whole number \(us\), got"):
            SlidingWindow(SMALL, every=every)
    window = SlidingWindow(SMALL, every=10)
    with pytest.raises(TypeError, match=r"time must be a whole number \(us\), got 3.5"):
        window.advance(3.5)
    with pytest.raises(ValueError, match=r"time must be below 2\^62 \(us\), got"):
        window.advance(2**62)


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.uint32, np.uint64])
def test_numbers_of_numpy_do_not_overflow(kind):
    events = ev.make([1, 2], [0, 0], [100, 3 * 10**9], [1, 1])
    frames = ev.TimeFrames(sensor_size=(5, 4, 2), bins=3, width=kind(20))
    window = SlidingWindow(frames, every=kind(20))
    found = [*window.feed(events[:1]), *window.advance(kind(127)), *window.feed(events[1:])]
    # The window that begins at 160 is empty, and the next event is there 150 million decisions later.
    assert [moment[:2] for moment in found] == [(1, 120), (2, 140), (3, 160)]
    assert [moment[:2] for moment in window.finish()] == [(149_999_996, 3 * 10**9 + 20)]
    assert all(type(moment.time) is int for moment in found)


def test_times_as_long_as_they_can_be():
    longest = 2**62 - 1
    frames = ev.TimeFrames(sensor_size=(5, 4, 2), bins=3, width=longest)
    found, counts = run(ev.make([1, 2], [0, 0], [0, longest], [1, 1]), frames, longest)
    assert [moment.time for moment in found] == [longest, 2 * longest]
    assert counts == Counts(taken=2, late=0, duplicate=0, outside=0)


@pytest.mark.parametrize(
    "events",
    [
        np.zeros((2, 2), ev.EVENT),
        np.zeros(3),
        [(1, 2, 3, True)],
        np.zeros(2, [("x", "<i2"), ("y", "<i2"), ("t", "<i8")]),
        np.zeros(2, [("x", "<i2"), ("y", "<i2"), ("t", "<f8"), ("p", "?")]),
        np.zeros(2, [("x", "<i2", (2,)), ("y", "<i2"), ("t", "<i8"), ("p", "?")]),
        np.zeros(2, [("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?", (2,))]),
        np.zeros(2, [("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "U3")]),
    ],
)
def test_other_arrays_are_refused(events):
    window = SlidingWindow(SMALL, every=10)
    with pytest.raises(TypeError, match=r"must (be a structured array|have shape|hold)"):
        list(window.feed(events))
    assert window.counts == Counts(0, 0, 0, 0)


@pytest.mark.parametrize(("kind", "polarity"), [("i1", -1), ("u1", 2), ("f4", float("nan"))])
def test_a_polarity_that_is_neither_on_nor_off_is_refused(kind, polarity):
    events = np.zeros(2, [("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", kind)])
    events["p"] = [1, polarity]
    window = SlidingWindow(SMALL, every=10)
    with pytest.raises(ValueError, match=rf"\['p'\] must be 1 for ON and 0 for OFF, got {polarity}$"):
        list(window.feed(events))
    assert window.counts == Counts(0, 0, 0, 0)


def test_windows_of_the_data_sets():
    assert window_of("nmnist") is window_of("nmnist-simulated") is NMNIST_WINDOW
    assert window_of("dvsgesture") is window_of("dvsgesture-precut") is GESTURE_WINDOW
    with pytest.raises(ValueError, match=r"mnist holds images of \(1, 28, 28\)"):
        window_of("mnist")
