"""Recordings as images: the cache, the official sets through nsm.data.load, training on them."""

import os
import shutil
import signal

import numpy as np
import pytest
import torch

from nsm import data
from nsm.data import DataError
from nsm.data import events as ev
from nsm.data.events.cache import cached, fingerprint
from nsm.data.events.representations import GESTURE_FRAMES, NMNIST_FRAMES
from nsm.training import TrainingInterrupted, augment, load_recipe, read_recipe, train, with_overrides
from nsm.training.run import Run
from nsm.training.splits import load_splits
from tests.data.events.recordings import lay_out_gestures, lay_out_nmnist, random_events


def counted(calls):
    def make():
        calls.append(1)
        return {"a": np.arange(6, dtype=np.uint8).reshape(2, 3)}

    return make


def test_what_was_made_is_found_again(tmp_path):
    calls = []
    for _ in range(2):
        assert np.array_equal(cached(tmp_path, {"b": 1}, counted(calls))["a"], [[0, 1, 2], [3, 4, 5]])
    assert len(calls) == 1
    cached(tmp_path, {"b": 2}, counted(calls))
    assert len(calls) == 2
    assert all(path.suffix == ".safetensors" for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: b"\xff" * 20,
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        lambda data: data.replace(b'"shape":[2,3]', b'"shape":[3,2]'),
    ],
)
def test_a_damaged_file_is_made_anew(tmp_path, spoil):
    calls = []
    cached(tmp_path, {}, counted(calls))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    assert spoil(whole) != whole
    path.write_bytes(spoil(whole))
    assert cached(tmp_path, {}, counted(calls))["a"].shape == (2, 3)
    assert len(calls) == 2
    assert path.read_bytes() == whole


def test_arrays_without_elements_are_found_again(tmp_path):
    calls = []

    def make():
        calls.append(1)
        return {"none": np.empty((0, 3), np.uint8), "one": np.array(4, np.int64)}

    for _ in range(2):
        assert cached(tmp_path, {}, make)["none"].shape == (0, 3)
    assert len(calls) == 1


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path):
    (tmp_path / "file").write_text("")
    assert cached(tmp_path / "file", {}, counted([]))["a"].shape == (2, 3)


def test_the_fingerprint_is_of_the_content_and_not_of_the_place(tmp_path):
    lay_out_nmnist(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    one, two = (ev.nmnist("train", tmp_path / name) for name in ("one", "two"))
    assert fingerprint(one) == fingerprint(two)
    assert fingerprint(one[1:]) != fingerprint(one)
    assert fingerprint(ev.nmnist("train", tmp_path / "one", repair=True)) != fingerprint(one)
    path = two.items[3].path
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    assert fingerprint(one) != fingerprint(two)


def test_a_recording_that_is_no_file_is_named(tmp_path):
    path = next(iter(lay_out_nmnist(tmp_path)))
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match=rf"{path}: cannot be read \(Is a directory\)"):
        data.load("nmnist", tmp_path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(DataError, match=rf"{path}: cannot be read \(no regular file\)"):
        data.load("nmnist", tmp_path)


def test_nmnist_becomes_the_published_images(tmp_path):
    lay_out_nmnist(tmp_path)
    for _ in range(2):  # made, then from the cache
        train, validation, test = data.load("nmnist", tmp_path, validation=0)
        assert (len(train), len(validation), len(test)) == (30, 0, 10)
        for part, split in ((train, "train"), (test, "test")):
            for image, target, (events, digit) in zip(
                part.images, part.targets, ev.nmnist(split, tmp_path), strict=True
            ):
                assert np.array_equal(image.numpy(), 255 * NMNIST_FRAMES(events)[:, 0])
                assert int(target) == digit
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert len(data.load("nmnist", tmp_path).validation) == 2  # as many of 30 as 5,000 of 60,000
    with pytest.raises(ValueError, match=r"validation must be .* in \[0, 30\] for nmnist, got 31"):
        data.load("nmnist", tmp_path, validation=31)


def test_gestures_become_windows_and_users_stay_together(tmp_path):
    lay_out_gestures(tmp_path)
    train, validation, test = data.load("dvsgesture", tmp_path, validation=1)
    assert (len(train), len(validation), len(test)) == (18 * 11, 18 * 11, 18 * 22)
    assert train.images.shape[1:] == (6, 64, 64)
    events, target = ev.dvs_gesture("test", tmp_path)[12]
    frames = GESTURE_FRAMES(events).reshape(18, 6, 64, 64)
    assert np.array_equal(test.images[12 * 18 : 13 * 18].numpy(), 255 * frames)
    assert test.targets[12 * 18 : 13 * 18].tolist() == [target] * 18
    assert len(data.load("dvsgesture", tmp_path, validation=0).validation) == 0


def test_a_set_whose_windows_are_all_empty_is_named(tmp_path):
    folder = lay_out_gestures(tmp_path, classes=range(2), events=50)
    path = folder / "user01_fluorescent.aedat"
    for name in ("user01_fluorescent", "user23_led"):
        events = ev.read_aedat(folder / f"{name}.aedat")
        events["p"] = False  # networks see ON events
        ev.write_aedat(folder / f"{name}.aedat", events)
    for _ in range(2):  # made, then from the cache
        with pytest.raises(DataError, match=rf"dvsgesture: no window of its 4 recordings, .* {path}, holds"):
            data.load("dvsgesture", tmp_path)


def test_what_cannot_be_downloaded_says_where_to_get_it(tmp_path):
    with pytest.raises(DataError, match=f"N-MNIST has to be fetched by hand, from https://.*into {tmp_path}"):
        data.load("nmnist", tmp_path)
    assert not data.is_present("nmnist", tmp_path)
    for split in ("Train", "Test"):
        (tmp_path / "NMNIST" / split / "0").mkdir(parents=True)
    assert not data.is_present("nmnist", tmp_path)
    with pytest.raises(DataError, match="N-MNIST has to be fetched by hand"):
        data.load("nmnist", tmp_path)
    shutil.rmtree(tmp_path / "NMNIST")
    lay_out_nmnist(tmp_path)
    assert data.is_present("nmnist", tmp_path)
    assert data.fetch("nmnist", tmp_path) == tmp_path / "NMNIST"


def test_a_network_learns_recordings(tmp_path):
    lay_out_nmnist(tmp_path)
    config = with_overrides(load_recipe("nmnist-cnn"), ["epochs=1", "batch_size=10", "eval_samples=1"])
    result = train(config, tmp_path / "run", root=tmp_path, quiet=True)
    assert result.metrics[0].step == 3


def test_broken_recordings_are_repaired_if_asked(tmp_path):
    path = next(iter(lay_out_nmnist(tmp_path)))
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    config = with_overrides(
        load_recipe("nmnist-cnn"), ["epochs=1", "batch_size=10", "eval_samples=1", "drop=0.1", "validation=0"]
    )
    for load in (lambda: data.load("nmnist", tmp_path), lambda: load_splits(config, tmp_path)):
        with pytest.raises(DataError, match=rf"{path}: ends within an event"):
            load()
    repaired = data.load("nmnist", tmp_path, validation=0, repair=True, changes=CHANGES, copies=1).train
    path.write_bytes(whole[:-5])
    assert torch.equal(data.load("nmnist", tmp_path, validation=0).train.images, repaired.images)
    path.write_bytes(whole[:-1])
    splits = load_splits(with_overrides(config, ["data.repair=true"]), tmp_path, changed=True)
    assert torch.equal(splits.train.images, repaired.images)
    assert splits.train.copies.shape[:2] == (4, 30)


@pytest.mark.data
def test_the_real_recordings(data_folder):
    if not data.is_present("nmnist", data_folder):
        pytest.skip(f"{data_folder} does not hold NMNIST")
    train, validation, test = data.load("nmnist", data_folder)
    assert len(train) + len(validation) >= 800
    assert len(test) >= 100
    assert set(train.targets.tolist()) == set(range(10))
    assert 0.05 < float((train.images > 0).float().mean()) < 0.3


CHANGES = ev.EventAugmentation(drop=0.3, jitter=2000.0)


def whole(images, numbers):
    """All images by one copy of each."""
    return images.batch(torch.arange(len(images)), torch.as_tensor(numbers))[0]


def test_copies_show_recordings_whose_events_were_changed(tmp_path):
    lay_out_nmnist(tmp_path)
    for _ in range(2):  # made, then from the cache
        train, _, test = data.load("nmnist", tmp_path, validation=0, changes=CHANGES, copies=3)
        assert train.copies.shape == (3, 30, 10 * 34 * 34 // 8)
        for copy in range(3):
            for number, (events, _) in enumerate(ev.nmnist("train", tmp_path)):
                changed = CHANGES(events, (34, 34, 2), seed=0, example=number, epoch=copy)
                expected = NMNIST_FRAMES(changed)[:, 0]
                assert np.array_equal(whole(train, [copy] * 30)[number].numpy(), expected)
    assert len(list((tmp_path / "cache").iterdir())) == 3
    assert test.copies is None
    assert torch.equal(train.images, data.load("nmnist", tmp_path, validation=0).train.images)


def test_copies_go_with_their_images_into_every_part(tmp_path):
    lay_out_nmnist(tmp_path)
    every = data.load("nmnist", tmp_path, validation=0, changes=CHANGES, copies=2).train
    train, validation, _ = data.load("nmnist", tmp_path, fold=(1, 3), changes=CHANGES, copies=2)
    assert (len(train), len(validation)) == (20, 10)
    for part in (train, validation):
        for i in range(len(part)):
            (place,) = (every.images == part.images[i]).flatten(1).all(1).nonzero()[:, 0].tolist()
            assert torch.equal(part.copies[:, i], every.copies[:, place])


def test_copies_of_gestures_belong_to_their_windows(tmp_path):
    lay_out_gestures(tmp_path, classes=range(3), seconds=1.0, events=300)
    train, _, _ = data.load("dvsgesture", tmp_path, validation=0, changes=CHANGES, copies=2)
    events, _ = ev.dvs_gesture("train", tmp_path)[4]
    seen = [i for i, window in enumerate(GESTURE_FRAMES(events).reshape(18, 6, 64, 64)) if window.any()]
    assert 0 < len(seen) < 18
    before = sum(
        int(GESTURE_FRAMES(other).reshape(18, -1).any(1).sum())
        for other, _ in (ev.dvs_gesture("train", tmp_path)[i] for i in range(4))
    )
    changed = CHANGES(events, (128, 128, 2), seed=0, example=4, epoch=1)
    expected = GESTURE_FRAMES(changed).reshape(18, 6, 64, 64)[seen]
    found = whole(train, [1] * len(train))[before : before + len(seen)]
    assert np.array_equal(found.numpy(), expected)


def test_folds_divide_the_training_set(tmp_path):
    lay_out_nmnist(tmp_path)
    every = data.load("nmnist", tmp_path, validation=0).train
    parts = [data.load("nmnist", tmp_path, fold=(k, 4)) for k in range(4)]
    assert [len(part.validation) for part in parts] == [8, 8, 7, 7]
    held = torch.cat([part.validation.images for part in parts]).flatten(1)
    assert {bytes(image.numpy()) for image in held} == {bytes(i.numpy()) for i in every.images.flatten(1)}
    same = data.load("nmnist", tmp_path, fold=(np.int64(1), np.uint8(4)))
    assert torch.equal(same.validation.images, parts[1].validation.images)
    assert len(data.load("nmnist", tmp_path, validation=np.int64(7)).validation) == 7
    for part in parts:
        assert len(part.train) + len(part.validation) == 30
        together = torch.cat((part.train.images, part.validation.images)).flatten(1)
        assert len(torch.unique(together, dim=0)) == 30
    lay_out_gestures(tmp_path)
    users = data.load("dvsgesture", tmp_path, fold=(0, 2))
    assert (len(users.train), len(users.validation)) == (18 * 11, 18 * 11)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("nmnist", {"fold": (2, 2)}, r"fold must be \(k, n\) with n >= 2 and 0 <= k < n, got \(2, 2\)"),
        ("nmnist", {"fold": (0, 2.0)}, r"fold must be \(k, n\) .* got \(0, 2.0\)"),
        ("nmnist", {"fold": (False, 2)}, r"fold must be \(k, n\) .* got \(False, 2\)"),
        ("nmnist", {"fold": 3}, r"fold must be \(k, n\) .* got 3"),
        ("nmnist", {"fold": (1, 2, 3)}, r"fold must be \(k, n\) .* got \(1, 2, 3\)"),
        ("nmnist", {"copies": 0}, "copies must be a whole number .* got 0"),
        ("nmnist", {"copies": 2.0, "changes": CHANGES}, "copies must be a whole number .* got 2.0"),
        ("mnist", {"repair": True}, "repair is for files of event recordings, but mnist holds none"),
        ("digits-simulated", {"repair": True}, "repair is for files of event recordings, but digits-sim"),
        ("nmnist", {"repair": 1}, "repair must be True or False, got 1"),
        ("mnist", {"unrecorded": 1}, "unrecorded must be True or False, got 1"),
        ("nmnist-simulated", {"simulated": True}, "simulated must be a whole number .* got True"),
        ("nmnist", {"fold": (0, 31)}, "fold must have at most 30 parts of nmnist, got 31"),
        (
            "nmnist",
            {"fold": (0, 2), "validation": 3},
            "validation must be None where a fold is held out, got 3",
        ),
        (
            "nmnist",
            {"unrecorded": True},
            "unrecorded is for mnist and nmnist-simulated alone, not for nmnist",
        ),
        ("nmnist", {"simulated": 10}, "simulated is for nmnist-simulated alone, not for nmnist"),
        ("nmnist-simulated", {"simulated": 0}, r"simulated must be a whole number in \[1, 60000\], got 0"),
        ("mnist", {"changes": CHANGES}, "changes of events need recordings, but mnist holds images"),
    ],
)
def test_what_a_set_does_not_have_is_refused(tmp_path, name, arguments, message):
    lay_out_nmnist(tmp_path)
    with pytest.raises(ValueError, match=message):
        data.load(name, tmp_path, **arguments)


def test_shifted_and_mirrored_frames_are_those_of_shifted_and_mirrored_events():
    frames = ev.TimeFrames(sensor_size=(34, 34, 2), bins=4, width=80_000, polarity="merged", binary=True)
    crop = 3
    for seed in range(5):
        events = random_events(seed=seed)
        window = torch.tensor([[crop - 2, crop + 1, 1]])  # two pixels down, one to the left, then mirrored
        moved = events.copy()
        moved["y"] += 2
        moved["x"] -= 1
        moved = moved[(moved["x"] >= 0) & (moved["y"] < 34)]
        moved["x"] = 33 - moved["x"]
        image = torch.from_numpy(frames(events))[:, 0][None]
        assert np.array_equal(augment.cut(image, window, crop, "black")[0].numpy(), frames(moved)[:, 0])


def test_a_run_on_changed_recordings_goes_on_where_it_was_stopped(tmp_path, monkeypatch):
    lay_out_nmnist(tmp_path)
    changes = ["drop=0.2", "jitter=1000", "copies=3", "crop=2"]
    settings = ["epochs=3", "batch_size=10", "eval_samples=1", "validation=0", "averaging=none"]
    config = with_overrides(load_recipe("nmnist-cnn"), [*changes, *settings])
    step = Run.step

    def stopped(self, shard, request):
        if self.progress.step == 4:
            signal.raise_signal(signal.SIGTERM)
        return step(self, shard, request)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "step", stopped)
        with pytest.raises(TrainingInterrupted):
            train(config, tmp_path / "stopped", root=tmp_path, quiet=True)
    train(config, tmp_path / "stopped", root=tmp_path, quiet=True, resume=True)
    train(config, tmp_path / "whole", root=tmp_path, quiet=True)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("stopped", "whole")]
    assert weights[0] == weights[1]
    assert read_recipe(tmp_path / "whole").augmentation == config.augmentation
    plain = with_overrides(config, ["drop=0", "jitter=0"])
    train(plain, tmp_path / "plain", root=tmp_path, quiet=True)
    assert (tmp_path / "plain" / "model.safetensors").read_bytes() != weights[0]
