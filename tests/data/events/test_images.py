"""Recordings as images: the cache, the official sets through nsm.data.load, training on them."""

import shutil

import numpy as np
import pytest

from nsm import data
from nsm.data import DataError
from nsm.data import events as ev
from nsm.data.events.cache import cached, fingerprint
from nsm.data.events.representations import GESTURE_FRAMES, NMNIST_FRAMES
from nsm.training import load_recipe, train, with_overrides
from tests.data.events.recordings import lay_out_gestures, lay_out_nmnist


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


@pytest.mark.parametrize("spoil", [lambda data: data[:-1], lambda data: b"", lambda data: b"\xff" * 20])
def test_a_damaged_file_is_made_anew(tmp_path, spoil):
    calls = []
    cached(tmp_path, {}, counted(calls))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(spoil(whole))
    assert cached(tmp_path, {}, counted(calls))["a"].shape == (2, 3)
    assert len(calls) == 2
    assert path.read_bytes() == whole


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


def test_what_cannot_be_downloaded_says_where_to_get_it(tmp_path):
    with pytest.raises(DataError, match=f"N-MNIST has to be fetched by hand, from https://.*into {tmp_path}"):
        data.load("nmnist", tmp_path)
    assert not data.is_present("nmnist", tmp_path)
    lay_out_nmnist(tmp_path)
    assert data.is_present("nmnist", tmp_path)
    assert data.fetch("nmnist", tmp_path) == tmp_path / "NMNIST"


def test_a_network_learns_recordings(tmp_path):
    lay_out_nmnist(tmp_path)
    config = with_overrides(load_recipe("nmnist-cnn"), ["epochs=1", "batch_size=10", "eval_samples=1"])
    result = train(config, tmp_path / "run", root=tmp_path, quiet=True)
    assert result.metrics[0].step == 3


@pytest.mark.data
def test_the_real_recordings(data_folder):
    if not data.is_present("nmnist", data_folder):
        pytest.skip(f"{data_folder} does not hold NMNIST")
    train, validation, test = data.load("nmnist", data_folder)
    assert len(train) + len(validation) >= 800
    assert len(test) >= 100
    assert set(train.targets.tolist()) == set(range(10))
    assert 0.05 < float((train.images > 0).float().mean()) < 0.3
