"""Data sets of recordings in their official layouts."""

import numpy as np
import pytest

from nsm.data import DataError
from nsm.data import events as ev
from nsm.data.classes import GESTURES
from tests.data.events.recordings import TRIALS, lay_out_gestures, lay_out_nmnist


def test_nmnist_in_its_layout(tmp_path):
    written = lay_out_nmnist(tmp_path)
    train, test = (ev.nmnist(split, tmp_path) for split in ("train", "test"))
    assert (len(train), len(test)) == (30, 10)
    assert train.sensor_size == (34, 34, 2)
    assert train.classes == tuple("0123456789")
    assert train.targets.tolist() == sorted(list(range(10)) * 3)
    for recordings in (train, test):
        for item, (events, target) in zip(recordings.items, recordings, strict=True):
            assert np.array_equal(events, written[item.path])
            assert target == int(item.path.parent.name)
    assert np.array_equal(train[4][0], written[train.items[4].path])
    assert len(train[5:8]) == 3
    assert train.with_transform(len)[0] == (200, 0)


def test_gestures_in_their_layout(tmp_path):
    folder = lay_out_gestures(tmp_path)
    for split, names in TRIALS.items():
        recordings = ev.dvs_gesture(split, tmp_path)
        assert len(recordings) == 22
        assert recordings.classes == GESTURES
        assert recordings.targets.tolist() == list(range(11)) * 2
        assert recordings.sensor_size == (128, 128, 2)
        users = {(item.user, item.lighting) for item in recordings.items}
        assert users == {(int(name[4:6]), name[7:]) for name in names}
        whole = [ev.read_aedat(folder / f"{name}.aedat") for name in names]
        parts = [events for events, _ in recordings]
        assert sum(map(len, parts)) == sum(map(len, whole))
        assert all(0 <= part["t"][0] <= part["t"][-1] < 2_000_000 for part in parts)
        assert np.array_equal(parts[13], recordings[13][0])
        third = whole[1][(whole[1]["t"] >= 9_000_000) & (whole[1]["t"] < 11_000_000)]
        assert np.array_equal(parts[13]["x"], third["x"])
        assert np.array_equal(parts[13]["t"], third["t"] - 9_000_000)


def test_pre_cut_gestures_in_their_layout(tmp_path):
    lay_out_gestures(tmp_path)
    official = ev.dvs_gesture("train", tmp_path)
    for item, (events, target) in zip(official.items, official, strict=True):
        folder = tmp_path / "DVSGesture" / "ibmGestureTrain" / f"user{item.user:02d}_{item.lighting}"
        folder.mkdir(parents=True, exist_ok=True)
        rows = np.column_stack([events["x"], events["y"], events["p"], events["t"] / 1000.0])
        np.save(folder / f"{target}.npy", rows)
    precut = ev.dvs_gesture_precut("train", tmp_path)
    assert precut.targets.tolist() == official.targets.tolist()
    assert [item[2:4] for item in precut.items] == [item[2:4] for item in official.items]
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(precut, official, strict=True))


@pytest.mark.parametrize("make", [ev.nmnist, ev.dvs_gesture, ev.dvs_gesture_precut])
def test_what_is_not_there(tmp_path, make):
    with pytest.raises(DataError, match=str(tmp_path)):
        make("train", tmp_path)
    with pytest.raises(ValueError, match="split must be one of train, test, got 'validation'"):
        make("validation", tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("user24_led.aedat", "line 2: user 24 is none of users 1 to 23, who are for train"),
        ("user00_led.aedat", "line 2: user 0 is none of users 1 to 23"),
        ("../../etc/passwd", "line 2 names no recording userNN_<light>.aedat: '../../etc/passwd'"),
        ("user01_led.bin", "line 2 names no recording"),
        ("user02_led.aedat", "user02_led_labels.csv: cannot be read"),
        ("us\u00e9r02_led.aedat", "is no ASCII text"),
    ],
)
def test_a_trial_list_is_not_trusted(tmp_path, line, message):
    folder = lay_out_gestures(tmp_path)
    (folder / "trials_to_train.txt").write_text(f"user01_fluorescent.aedat\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        ev.dvs_gesture("train", tmp_path)


def test_a_trial_without_its_recording(tmp_path):
    path = lay_out_gestures(tmp_path) / "user23_led.aedat"
    path.unlink()
    message = rf"{path}: is no file, but line 2 of trials_to_train.txt names it"
    with pytest.raises(DataError, match=message):
        ev.dvs_gesture("train", tmp_path)
    path.mkdir()
    with pytest.raises(DataError, match=message):
        ev.dvs_gesture("train", tmp_path)


def test_labels_beyond_the_recording(tmp_path):
    folder = lay_out_gestures(tmp_path)
    ev.write_labels(folder / "user01_fluorescent_labels.csv", [ev.Label(0, 10**12, 10**12 + 1)])
    with pytest.raises(DataError, match=r"user01_fluorescent.aedat: holds no event from 10{12} to"):
        ev.dvs_gesture("train", tmp_path)[0]
    assert len(ev.dvs_gesture("train", tmp_path, repair=True)[0][0]) == 0


def test_broken_recordings_are_repaired_if_asked(tmp_path):
    path = next(iter(lay_out_nmnist(tmp_path)))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="ends within an event"):
        ev.nmnist("train", tmp_path)[0]
    assert len(ev.nmnist("train", tmp_path, repair=True)[0][0]) == 199


def test_transforms_of_tonic_are_accepted(tmp_path):
    transforms = pytest.importorskip("tonic.transforms")
    lay_out_nmnist(tmp_path)
    to_frame = transforms.ToFrame(sensor_size=(34, 34, 2), n_time_bins=10)
    frames, _ = ev.nmnist("train", tmp_path, transform=to_frame)[0]
    assert frames.shape == (10, 2, 34, 34)


def test_files_whose_name_is_no_plain_number_are_not_looked_at(tmp_path):
    path = next(iter(lay_out_nmnist(tmp_path)))
    before = len(ev.nmnist("train", tmp_path)), len(ev.nmnist("test", tmp_path))
    (path.parent / "²³.bin").write_bytes(b"")
    assert before == (len(ev.nmnist("train", tmp_path)), len(ev.nmnist("test", tmp_path)))


@pytest.mark.parametrize(
    "use",
    [
        ev.read_nmnist,
        ev.read_aedat,
        ev.read_precut,
        lambda _, size: ev.EventAugmentation(shift=1)(
            ev.make([], [], [], []), size, seed=0, example=0, epoch=0
        ),
    ],
    ids=["nmnist", "aedat", "precut", "augmentation"],
)
@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((34, 34), r"sensor_size must be \(width, height, polarities\), got \(34, 34\)"),
        ((34, 0, 2), r"sensor_size\[1\] must be a whole number in \[1, 32768\], got 0"),
    ],
)
def test_sizes_that_no_sensor_has_are_refused(tmp_path, use, size, message):
    with pytest.raises(ValueError, match=message):
        use(tmp_path / "recording", size)
