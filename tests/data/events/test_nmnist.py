"""N-MNIST's 40-bit format."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsm.data import DataError
from nsm.data import events as ev
from tests.data.events.recordings import random_events


def plain(data):
    """The format as its description says, event by event."""
    rows, added = [], 0
    for i in range(0, len(data), 5):
        x, y, high, middle, low = data[i : i + 5]
        if y == 240:
            added += 8192
        t = (high & 127) * 65536 + middle * 256 + low + added
        if y != 240:
            rows.append((x, y, t, high >= 128))
    return rows


def written(tmp_path, data):
    path = tmp_path / "recording.bin"
    path.write_bytes(data)
    return path


def event(x=1, y=2, t=3, p=1):
    return bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255])


@given(st.lists(st.tuples(*[st.integers(0, 33)] * 2, st.integers(0, 2**23 - 1), st.booleans()), min_size=1))
def test_what_is_written_is_read_again(tmp_path_factory, rows):
    rows.sort(key=lambda row: row[2])
    events = np.array(rows, ev.EVENT)
    path = tmp_path_factory.getbasetemp() / "again.bin"
    ev.write_nmnist(path, events)
    data = path.read_bytes()
    assert len(data) == 5 * len(rows)
    assert plain(data) == rows
    assert np.array_equal(ev.read_nmnist(path), events)


def test_bytes_are_pinned(tmp_path):
    path = tmp_path / "pinned.bin"
    ev.write_nmnist(path, ev.make([3, 33], [0, 17], [0x010203, 0x7FFFFF], [False, True]))
    assert path.read_bytes().hex(" ") == "03 00 01 02 03 21 11 ff ff ff"


def test_a_row_of_240_moves_the_clock(tmp_path):
    data = event(t=10) + event(y=240, t=20) + event(t=5) + event(y=240) + event(t=6)
    events = ev.read_nmnist(written(tmp_path, data))
    assert events["t"].tolist() == [10, 8197, 16390]
    assert events.tolist() == plain(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no event"),
        (
            event() + b"\x01\x02",
            "ends within an event, 2 bytes after byte 5: 7 bytes are not",
        ),
        (event() * 2 + event(x=34), r"event 2 at byte 10 lies at \(34, 2\), outside the sensor of 34 x 34"),
        (event() + event(y=255), r"event 1 at byte 5 lies at \(1, 255\), outside"),
        (event(t=9) + event(t=8), "time runs back from 9 to 8 us at event 1, byte 5"),
        (event(y=240) + event(t=9) + event(t=8), "time runs back from 8201 to 8200 us at event 1, byte 10"),
    ],
)
def test_broken_recordings_end_in_a_clear_error(tmp_path, data, message):
    path = written(tmp_path, data)
    with pytest.raises(DataError, match=f"^{path}: {message}"):
        ev.read_nmnist(path)


@pytest.mark.parametrize(
    ("data", "times"),
    [
        (b"", []),
        (event(t=7) + b"\x01\x02", [7]),
        (event(t=1) + event(x=34, t=2) + event(t=3), [1, 3]),
        (event(t=9) + event(t=8), [8, 9]),
    ],
)
def test_they_are_repaired_if_asked(tmp_path, data, times):
    events = ev.read_nmnist(written(tmp_path, data), repair=True)
    assert events["t"].tolist() == times


def test_a_missing_or_huge_file(tmp_path):
    with pytest.raises(DataError, match=r"absent.bin: cannot be read \(No such file"):
        ev.read_nmnist(tmp_path / "absent.bin")
    with pytest.raises(DataError, match="cannot be read"):
        ev.read_nmnist(tmp_path)
    path = tmp_path / "sparse.bin"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(DataError, match=f"has {2**40} bytes, more than {2**26}"):
        ev.read_nmnist(path)


@pytest.mark.parametrize("read", [ev.read_nmnist, ev.read_aedat, ev.read_precut])
def test_what_would_be_waited_for_is_refused(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(DataError, match=rf"{path}: cannot be read \(no regular file\)"):
            read(path)


@pytest.mark.parametrize("read", [ev.read_nmnist, ev.read_aedat, ev.read_precut])
def test_what_is_no_path_is_refused(read):
    with pytest.raises(DataError, match=r"a\0b: cannot be read \(its name holds a null byte\)"):
        read("a\0b")


@pytest.mark.parametrize(
    ("events", "message"),
    [
        (ev.make([256], [0], [0], [0]), r"events\['x'\] must be in \[0, 255\] in this format, got 256"),
        (ev.make([-1], [0], [0], [0]), r"events\['x'\] must be .* got -1"),
        (ev.make([0], [240], [0], [0]), r"events\['y'\] must not be 240"),
        (ev.make([0], [0], [2**23], [0]), r"events\['t'\] must be in \[0, 8388607\]"),
        (ev.make([0, 0], [0, 0], [2, 1], [0, 0]), r"events\['t'\] must not run back"),
        (
            np.zeros(3),
            r"events must be a structured array of shape \(n,\) with the fields x, y, t, p, got float64 of",
        ),
    ],
)
def test_what_the_format_cannot_hold_is_not_written(tmp_path, events, message):
    path = tmp_path / "kept.bin"
    path.write_bytes(b"kept")
    with pytest.raises(ValueError, match=message):
        ev.write_nmnist(path, events)
    assert path.read_bytes() == b"kept"
    assert list(tmp_path.iterdir()) == [path]


FIELDS = {"x": "i2", "y": "i2", "t": "i8", "p": "?"}


@pytest.mark.parametrize("write", [ev.write_nmnist, ev.write_aedat])
@pytest.mark.parametrize(("name", "kind"), [("x", "f4"), ("y", "f8"), ("t", "f8"), ("p", "f4"), ("t", "c8")])
def test_numbers_that_need_not_be_whole_are_not_written(tmp_path, write, name, kind):
    events = np.full(3, 1, list({**FIELDS, name: kind}.items()))
    with pytest.raises(ValueError, match=rf"events\['{name}'\] must hold whole numbers, got type"):
        write(tmp_path / "no", events)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("write", "read"), [(ev.write_nmnist, ev.read_nmnist), (ev.write_aedat, ev.read_aedat)]
)
def test_integers_of_every_width_are_written(tmp_path, write, read):
    narrow = np.array([(3, 4, 5, 1), (6, 7, 100, 0)], [(name, "i1") for name in FIELDS])
    write(tmp_path / "narrow", narrow)
    assert read(tmp_path / "narrow").tolist() == [(3, 4, 5, True), (6, 7, 100, False)]


def test_a_larger_sensor_of_the_same_format(tmp_path):
    events = random_events(sensor_size=(240, 180, 2))
    ev.write_nmnist(tmp_path / "caltech.bin", events)
    assert np.array_equal(ev.read_nmnist(tmp_path / "caltech.bin", (240, 180, 2)), events)


@pytest.mark.data
def test_real_recordings(data_folder):
    if not (data_folder / "NMNIST").is_dir():
        pytest.skip(f"{data_folder} does not hold NMNIST")
    recordings = ev.nmnist("train", data_folder)
    for index in (0, len(recordings) // 2, len(recordings) - 1):
        events, target = recordings[index]
        path = recordings.items[index].path
        assert events.tolist() == plain(path.read_bytes())
        assert path.parent.name == str(target)
        assert 0 < events["t"][-1] < 400_000
