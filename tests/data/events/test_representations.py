"""Each representation beside an obvious version that looks at one event after the other."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsm.data import events as ev
from nsm.data.events.representations import GESTURE_FRAMES, NMNIST_FRAMES
from tests.data.events.recordings import random_events

SENSOR = (7, 5, 2)
rows = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 4), st.integers(0, 500), st.booleans()), max_size=60
)
polarities = st.sampled_from(["both", "merged", "on", "off"])


def recording(rows):
    return np.array(sorted(rows, key=lambda row: row[2]), ev.EVENT)


def cells(events, polarity, shrink):
    """(channel, row, column, t, p) of each event that counts."""
    for x, y, t, p in events.tolist():
        column, row = x // shrink, y // shrink
        inside = column < 7 // shrink and row < 5 // shrink
        if inside and polarity in ("both", "merged", "on" if p else "off"):
            yield int(p) if polarity == "both" else 0, row, column, t, p


def empty(count, polarity, shrink):
    return np.zeros((count, 2 if polarity == "both" else 1, 5 // shrink, 7 // shrink))


@given(rows, polarities, st.integers(1, 3), st.integers(1, 6), st.none() | st.integers(1, 200), st.booleans())
def test_frames_by_time(rows, polarity, shrink, bins, width, binary):
    events = recording(rows)
    expected = empty(bins, polarity, shrink)
    for channel, row, column, t, _ in cells(events, polarity, shrink):
        if width is None:
            first, last = events["t"][0], events["t"][-1]
            frame = int((t - first) * bins // (last - first + 1))
        else:
            frame = t // width
        if frame < bins:
            expected[frame, channel, row, column] += 1
    got = ev.TimeFrames(
        sensor_size=SENSOR, polarity=polarity, shrink=shrink, bins=bins, width=width, binary=binary
    )(events)
    assert got.dtype == (np.uint8 if binary else np.int32)
    assert np.array_equal(got, np.minimum(expected, 1) if binary else expected)


@given(rows, polarities, st.integers(1, 3), st.integers(1, 9), st.booleans())
def test_frames_by_count(rows, polarity, shrink, count, binary):
    events = recording(rows)
    counted = list(cells(events, polarity, shrink))
    expected = empty(len(counted) // count, polarity, shrink)
    for i, (channel, row, column, _, _) in enumerate(counted[: len(expected) * count]):
        expected[i // count, channel, row, column] += 1
    got = ev.CountFrames(sensor_size=SENSOR, polarity=polarity, shrink=shrink, events=count, binary=binary)(
        events
    )
    assert np.array_equal(got, np.minimum(expected, 1) if binary else expected)


@given(rows, polarities, st.integers(1, 3), st.integers(1, 6))
def test_voxel_grid(rows, polarity, shrink, bins):
    events = recording(rows)
    expected = empty(bins, polarity, shrink)
    for channel, row, column, t, p in cells(events, polarity, shrink):
        first, last = int(events["t"][0]), int(events["t"][-1])
        position = (bins - 1) * (t - first) / max(1, last - first)
        sign = -1 if polarity == "merged" and not p else 1
        for b in range(bins):
            expected[b, channel, row, column] += sign * max(0.0, 1.0 - abs(b - position))
    got = ev.VoxelGrid(sensor_size=SENSOR, polarity=polarity, shrink=shrink, bins=bins)(events)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-5)


@given(rows, polarities, st.integers(1, 3), st.integers(1, 6), st.floats(1.0, 1e4))
def test_time_surface(rows, polarity, shrink, bins, tau):
    events = recording(rows)
    expected = empty(bins, polarity, shrink)
    for b in range(bins):
        for channel, row, column, t, _ in cells(events, polarity, shrink):
            first, last = int(events["t"][0]), int(events["t"][-1])
            end = (b + 1) * (last - first + 1) / bins
            if t - first < end:
                expected[b, channel, row, column] = math.exp((t - first - end) / tau)
    got = ev.TimeSurface(sensor_size=SENSOR, polarity=polarity, shrink=shrink, bins=bins, tau=tau)(events)
    np.testing.assert_allclose(got, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("first", "last"), [(0, 2**60), (2**61, 2**62), (-5, 2**63 - 1), (-(2**63), 2**63 - 1)], ids=str
)
@pytest.mark.parametrize("bins", [1, 2, 10])
def test_recordings_as_long_as_times_can_tell(first, last, bins):
    length = last - first + 1
    # Both sides of each bin's first microsecond.
    begins = [first - (-b * length // bins) for b in range(1, bins)]
    times = [first, *(begin + side for begin in begins for side in (-1, 0)), last]
    events = ev.make([0] * len(times), [0] * len(times), times, [1] * len(times))
    fields = {"sensor_size": (1, 1, 2), "bins": bins, "polarity": "merged"}
    expected = np.bincount([(t - first) * bins // length for t in times])
    assert ev.TimeFrames(**fields)(events).ravel().tolist() == expected.tolist()
    points = np.zeros(bins)
    for t in times:
        points += np.maximum(0.0, 1.0 - np.abs(np.arange(bins) - (bins - 1) * (t - first) / (last - first)))
    np.testing.assert_allclose(ev.VoxelGrid(**fields)(events).ravel(), points, atol=1e-5)
    one = ev.make([0], [0], [first], [1])
    surface = ev.TimeSurface(**fields, tau=length / 5)(np.concatenate((one, events[-1:]))).ravel()
    ages = [(b + 1) / bins * 5 if b + 1 < bins else 0.0 for b in range(bins)]
    np.testing.assert_allclose(surface, np.exp(-np.array(ages)), atol=1e-6)
    assert (ev.TimeSurface(**fields, tau=1e-3)(events) <= 1.0).all()


def test_a_span_longer_than_its_type():
    events = np.zeros(3, [("x", "u2"), ("y", "u2"), ("t", "i4"), ("p", "i1")])
    events["t"] = [-(2**31), 0, 2**31 - 1]
    grid = ev.VoxelGrid(sensor_size=(1, 1, 2), bins=3)(events)
    np.testing.assert_allclose(grid[:, 0].ravel(), 1.0, atol=1e-6)


def test_the_published_inputs():
    frames = NMNIST_FRAMES(random_events(4000))
    assert frames.shape == (10, 1, 34, 34)
    assert set(np.unique(frames)) == {0, 1}
    events = random_events(50_000, (128, 128, 2), last=2_000_000)
    frames = GESTURE_FRAMES(events)
    assert frames.shape == (108, 1, 64, 64)
    kept = events[events["p"] & (events["t"] < 108 * 16_000)]
    assert set(zip(*np.nonzero(frames[:, 0]), strict=True)) == {
        (t // 16_000, y // 2, x // 2) for x, y, t, _ in kept.tolist()
    }


ALL = [
    ev.TimeFrames(sensor_size=SENSOR, bins=2),
    ev.CountFrames(sensor_size=SENSOR, events=2),
    ev.VoxelGrid(sensor_size=SENSOR, bins=2),
    ev.TimeSurface(sensor_size=SENSOR, bins=2, tau=10.0),
]


@pytest.mark.parametrize("representation", ALL, ids=lambda r: type(r).__name__)
def test_a_representation_is_frozen_describes_itself_and_checks_its_events(representation):
    with pytest.raises(dataclasses.FrozenInstanceError):
        representation.shrink = 2
    described = json.loads(json.dumps(representation.to_dict()))
    assert described["representation"] == type(representation).__name__
    other = dataclasses.replace(representation, shrink=2)
    assert other.to_dict() != representation.to_dict()
    with pytest.raises(ValueError, match="events must lie on the sensor of 7 x 5 pixels"):
        representation(ev.make([7], [0], [0], [0]))
    with pytest.raises(ValueError, match=r"events must be a structured array of .* x, y, t, p, got list"):
        representation([(1, 2, 3, True)])
    assert not representation(recording([])).any()


@pytest.mark.parametrize(
    ("kind", "fields", "message"),
    [
        (ev.TimeFrames, {"bins": 0}, "bins must be a whole number of at least 1, got 0"),
        (ev.TimeFrames, {"bins": 2.0}, "bins must be a whole number of at least 1, got 2.0"),
        (ev.TimeFrames, {"bins": "2"}, "bins must be a whole number of at least 1, got '2'"),
        (ev.TimeFrames, {"bins": True}, "bins must be a whole number of at least 1, got True"),
        (ev.TimeFrames, {"bins": 1, "width": 0}, r"width must be a whole number in \[1, 9223"),
        (ev.TimeFrames, {"bins": 1, "width": 0.5}, r"width must be a whole number in \[1, 9223"),
        (
            ev.TimeFrames,
            {"bins": 1, "width": 2**63},
            r"width must be .* in \[1, 9223372036854775807\], got 9",
        ),
        (ev.TimeFrames, {"bins": 1, "binary": 1}, "binary must be True or False, got 1"),
        (ev.CountFrames, {"events": 1, "binary": None}, "binary must be True or False, got None"),
        (ev.TimeFrames, {"bins": 1, "sensor_size": 34}, "sensor_size must be .* got 34"),
        (ev.TimeFrames, {"bins": 1, "sensor_size": (34, 34)}, r"must be \(width, height, polarities\), got"),
        (ev.TimeFrames, {"bins": 1, "sensor_size": (34, 34.0, 2)}, r"sensor_size\[1\] must be .* got 34.0"),
        (ev.TimeFrames, {"bins": 1, "sensor_size": (0, 34, 2)}, r"sensor_size\[0\] must be .* got 0"),
        (ev.TimeFrames, {"bins": 1, "sensor_size": (34, 34, 3)}, r"sensor_size\[2\] must be .* got 3"),
        (ev.TimeSurface, {"bins": 1, "tau": "5"}, "tau must be a number, got '5'"),
        (ev.TimeSurface, {"bins": 1, "tau": float("nan")}, "tau must be positive"),
        (
            ev.TimeFrames,
            {"bins": 1, "polarity": "up"},
            "polarity must be one of both, merged, .*'up'",
        ),
        (ev.TimeFrames, {"bins": 1, "shrink": 6}, r"shrink must be a whole number in \[1, 5\], got 6"),
        (ev.CountFrames, {"events": 0}, "events must be a whole number"),
        (ev.VoxelGrid, {"bins": 0}, "bins must be a whole number"),
        (ev.TimeSurface, {"bins": 1, "tau": 0.0}, "tau must be positive"),
    ],
)
def test_impossible_fields_are_refused(kind, fields, message):
    with pytest.raises(ValueError, match=message):
        kind(**{"sensor_size": SENSOR, **fields})


def test_numbers_of_numpy_do_as_well():
    one = ev.TimeSurface(sensor_size=SENSOR, bins=3, tau=5.0, shrink=2)
    other = ev.TimeSurface(
        sensor_size=list(np.array(SENSOR)), bins=np.int64(3), tau=np.float32(5.0), shrink=np.uint8(2)
    )
    assert other == one
    assert json.dumps(other.to_dict()) == json.dumps(one.to_dict())


@pytest.mark.parametrize(
    "kind",
    [
        ev.TimeFrames(sensor_size=SENSOR, bins=3),
        ev.CountFrames(sensor_size=SENSOR, events=2),
        ev.VoxelGrid(sensor_size=SENSOR, bins=3),
        ev.TimeSurface(sensor_size=SENSOR, bins=3, tau=5.0),
    ],
    ids=lambda kind: type(kind).__name__,
)
def test_events_out_of_order_are_refused(kind):
    with pytest.raises(ValueError, match="events must be sorted by time"):
        kind(ev.make([0, 1, 2], [0, 0, 0], [0, 9, 4], [0, 1, 0]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [70_000, 0]}, "x must hold values of type int16"),
        ({"x": np.array([70_000, 0])}, "x must hold values of type int16"),
        ({"y": [0.5, 1.0]}, "y must hold values of type int16"),
        ({"t": [0.0, np.nan]}, "t must hold values of type int64"),
        ({"t": [0, 2**70]}, "t must hold values of type int64"),
        ({"p": [0, 2]}, "p must hold values of type bool"),
        ({"x": ["1", "2"]}, "x must hold values of type int16, got others, of <U1"),
        ({"x": np.array(["1", "2"], object)}, "x must hold values of type int16, got others, of object"),
        ({"t": [None, 3]}, "t must hold values of type int64, got others, of object"),
        ({"t": [object(), 3]}, "t must hold values of type int64"),
        ({"t": [1 + 0j, 3]}, "t must hold values of type int64, got others, of complex128"),
        ({"t": np.array([1, 2], "M8[us]")}, "t must hold values of type int64"),
        ({"p": ["ON", "OFF"]}, "p must hold values of type bool"),
        ({"y": [[1], [1, 2]]}, r"y must have shape \(n,\), got \[\[1\], \[1, 2\]\]"),
        ({"x": [1]}, r"x must have shape \(n,\) like t, of shape \(2,\), got \(1,\)"),
        ({"p": [1, 0, 1]}, r"p must have shape \(n,\) like t, of shape \(2,\), got \(3,\)"),
    ],
)
def test_columns_that_fields_cannot_hold_are_refused(columns, message):
    sound = {"x": [0, 1], "y": [0, 1], "t": [5, 6], "p": [True, False]}
    assert ev.make(**sound).tolist() == [(0, 0, 5, True), (1, 1, 6, False)]
    with pytest.raises(ValueError, match=message):
        ev.make(**(sound | columns))


def test_columns_of_whole_objects_are_taken():
    columns = [np.array([1, 2], object)] * 3 + [np.array([True, False], object)]
    assert ev.make(*columns).tolist() == [(1, 1, 1, True), (2, 2, 2, False)]


@pytest.mark.parametrize("kind", ["u4", "i4", "u8"])
def test_times_of_other_types_fall_into_the_same_bins(kind):
    fields = [("x", "u2"), ("y", "u2"), ("t", kind), ("p", "i1")]
    recording = np.zeros(3, fields)
    recording["t"] = [0, 30_000_000, 60_000_000]
    frames = ev.TimeFrames(sensor_size=(34, 34, 2), bins=100, polarity="merged")(recording)
    assert frames.reshape(100, -1).any(1).nonzero()[0].tolist() == [0, 49, 99]


def test_polarities_of_plus_and_minus_one_are_refused():
    recording = np.zeros(3, [("x", "u2"), ("y", "u2"), ("t", "i8"), ("p", "i1")])
    recording["p"] = [-1, 1, -1]
    with pytest.raises(ValueError, match="p must hold values of type bool"):
        ev.VoxelGrid(sensor_size=(34, 34, 2), bins=2, polarity="merged")(recording)
