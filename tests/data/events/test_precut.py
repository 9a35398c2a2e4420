"""Pre-cut gestures in .npy files."""

import pickle
import tracemalloc

import numpy as np
import pytest

from nsm.data import DataError
from nsm.data import events as ev
from tests.data.events.recordings import random_events


def columns(events, dtype=np.float64):
    rows = np.column_stack([events["x"], events["y"], events["p"], events["t"] / 1000.0])
    return rows.astype(dtype)


def saved(tmp_path, array, **options):
    path = tmp_path / "0.npy"
    np.save(path, array, **options)
    return path


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f16", "<i1", "<u8"])
def test_numbers_of_any_width_will_do(tmp_path, dtype):
    rows = np.array([[1, 2, 1, 40], [5, 6, 0, 100]], dtype)
    assert ev.read_precut(saved(tmp_path, rows))["t"].tolist() == [40_000, 100_000]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f8", ">f8"])
def test_milliseconds_become_microseconds(tmp_path, order, dtype):
    events = random_events(sensor_size=(128, 128, 2))
    path = saved(tmp_path, np.asarray(columns(events), dtype, order=order))
    assert np.array_equal(ev.read_precut(path), events)


def test_whole_numbers_will_do(tmp_path):
    events = random_events(sensor_size=(128, 128, 2))
    events["t"] -= events["t"] % 1000
    assert np.array_equal(ev.read_precut(saved(tmp_path, columns(events, np.uint32))), events)


ROW = [1.0, 2.0, 1.0, 3.0]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((0, 4)), "holds no event"),
        (np.zeros((3, 5)), r"must hold numbers of shape \(n, 4\), holds float64 of shape \(3, 5\)"),
        (np.zeros(4), r"must hold numbers of shape \(n, 4\)"),
        (np.zeros((3, 4), complex), "must hold numbers"),
        (np.zeros((3, 4), "U8"), "must hold numbers"),
        (
            np.array([ROW, [1.0, 2.0, 2.0, 3.0]]),
            "event 1 at byte 160 is none: x, y, p, t = 1.0, 2.0, 2.0",
        ),
        (np.array([[np.nan, 2.0, 1.0, 3.0]]), "event 0 at byte 128 is none: x, y, p, t = nan"),
        (
            np.full((1, 4), 0xFFF5 << 48, np.uint64).view(np.float64),
            "event 0 at byte 128 is none",
        ),  # signalling
        (np.array([[1.0, 2.0, 1.0, np.inf]]), "event 0 at byte 128 is none"),
        (np.array([[1.0, 2.0, 1.0, -1.0]]), "event 0 at byte 128 is none"),
        (np.array([ROW, [1e300, 2.0, 1.0, 3.0]]), "event 1 at byte 160 is none"),
        (np.array([ROW, [128.0, 2.0, 1.0, 3.0]]), r"event 1 at byte 160 lies at \(128, 2\), outside"),
        (np.array([ROW, [1.0, 2.0, 1.0, 2.0]]), "time runs back from 3000 to 2000 us at event 1, byte 160"),
    ],
)
def test_broken_recordings_end_in_a_clear_error(tmp_path, array, message):
    path = saved(tmp_path, array)
    with pytest.raises(DataError, match=f"^{path}: {message}"):
        ev.read_precut(path)


def test_narrow_numbers_take_little_more_memory_than_their_events(tmp_path):
    path = saved(tmp_path, np.zeros((500_000, 4), np.uint8))
    tracemalloc.start()
    events = ev.read_precut(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(events) == 500_000
    # The file, its events, and blocks of a fixed size.
    assert peak < path.stat().st_size + 1.2 * events.nbytes + 2**23


def test_long_recordings_are_checked_and_repaired_to_their_end(tmp_path):
    events = random_events(150_000, (128, 128, 2))
    rows = columns(events)
    assert np.array_equal(ev.read_precut(saved(tmp_path, rows)), events)
    wrong = [70_000, 140_000]
    rows[wrong, 2] = 2.0
    path = saved(tmp_path, rows)
    with pytest.raises(DataError, match=f"event 70000 at byte {128 + 70_000 * 32} is none: x, y, p, t = "):
        ev.read_precut(path)
    assert np.array_equal(ev.read_precut(path, repair=True), np.delete(events, wrong))


def npy(header, body=b""):
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + body


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no .npy file"),
        (b"PK\x03\x04", "no .npy file"),
        (pickle.dumps([1, 2]), "no .npy file"),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }"), "says 96 bytes .* has 0"),
        (
            npy("{'descr': '<f8', 'fortran_order': False, 'shape': (2000000000000, 4), }"),
            "says 64000000000000",
        ),
        (npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 4), }", bytes(8)), "says -32 bytes"),
        (npy("{'descr': '|O', 'fortran_order': False, 'shape': (1, 4), }", bytes(32)), "must hold numbers"),
        # A name of a type that numpy warns of up to 2.4, and does not know since.
        (
            npy("{'descr': '<a8', 'fortran_order': False, 'shape': (1, 4), }", bytes(32)),
            "(must hold numbers|no .npy file)",
        ),
        (npy("{'descr': '<f8'}"), "no .npy file"),
        (npy("__import__('os').abort()"), "no .npy file"),
        (npy("(" * 5000), "no .npy file"),
    ],
)
def test_hostile_headers_end_in_a_clear_error(tmp_path, data, message):
    path = tmp_path / "0.npy"
    path.write_bytes(data)
    with pytest.raises(DataError, match=f"^{path}: {message}"):
        ev.read_precut(path)


def test_pickled_objects_are_not_looked_at(tmp_path):
    with pytest.raises(DataError, match="must hold numbers"):
        ev.read_precut(saved(tmp_path, np.array([[1, 2, 1, "x"]], dtype=object), allow_pickle=True))


def test_they_are_repaired_if_asked(tmp_path):
    rows = np.array([ROW, [1.0, 2.0, 7.0, 3.0], [128.0, 2.0, 1.0, 3.0], [1.0, 2.0, 0.0, 1.0]])
    assert ev.read_precut(saved(tmp_path, rows), repair=True)["t"].tolist() == [1000, 3000]


def test_a_header_that_numpy_warns_of(tmp_path):
    path = tmp_path / "0.npy"
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1L, 4L), }"  # as Python 2 wrote it
    path.write_bytes(npy(header, np.array(ROW).tobytes()))
    assert ev.read_precut(path).tolist() == [(1, 2, 3000, True)]


def test_pixels_that_are_no_whole_numbers_are_refused(tmp_path):
    path = saved(tmp_path, np.array([[1.5, 2.0, 1.0, 3.0]]))
    with pytest.raises(DataError, match=r"event 0 at byte .* is none"):
        ev.read_precut(str(path))
