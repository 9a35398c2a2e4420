import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from nsm import data, models, predict
from nsm.data import DataError
from nsm.data.events import make, write_nmnist
from nsm.data.events.representations import NMNIST_FRAMES
from nsm.demo.bands import axis, bands, entropies
from nsm.demo.latest import Latest
from nsm.demo.playing import Player
from nsm.demo.recording import STEP, from_drawing, from_file, moments
from nsm.demo.subject import Subject


@pytest.fixture(scope="module")
def events():
    return from_drawing(data.load("digits").test.images[0] / 255.0, seed=0)


@pytest.fixture(scope="module")
def seen(events):
    torch.manual_seed(0)
    net = models.build("nmnist-cnn").eval()
    short = events[events["t"] < 45_000]
    return short, list(moments(net, short, confidence=0.99, most=3, seed=0)), net


def test_a_prediction_every_ten_milliseconds(seen):
    short, found, _ = seen
    end = int(short["t"][-1]) + 1
    assert [moment.time for moment in found] == [STEP, 2 * STEP, 3 * STEP, 4 * STEP, end]
    for moment in found:
        last = short[
            (short["t"] < moment.time) & (short["t"] >= max(0, -(-moment.time // STEP) * STEP - 20_000))
        ]
        assert moment.events.sum() == len(last)
        assert moment.events[1].sum() == last["p"].sum()


def test_the_last_prediction_is_that_of_the_whole_recording(seen):
    short, found, net = seen
    frames = replace(NMNIST_FRAMES, width=-(-(int(short["t"][-1]) + 1) // 10))
    whole = torch.from_numpy(frames(short)[:, 0]).float()
    said = predict(net, whole[None], confidence=0.99, max_samples=3, seed=0)
    torch.testing.assert_close(found[-1].look.probabilities, said.probabilities[0])


def test_a_file_begins_with_its_first_event(tmp_path):
    path = tmp_path / "late.bin"
    write_nmnist(path, make([1, 2], [3, 4], [5000, 6000], [True, False]))
    assert from_file(path)["t"].tolist() == [0, 1000]
    path.write_bytes(b"\0" * 7)
    with pytest.raises(DataError, match=r"late\.bin"):
        from_file(path)


def test_a_broken_file_leaves_nothing_to_play(tmp_path):
    (tmp_path / "broken.bin").write_bytes(b"\0" * 7)
    player = Player(Subject(models.build("nmnist-cnn").eval(), "nmnist", "untrained"))
    recording, message = player.upload(str(tmp_path / "broken.bin"))
    assert recording is None
    assert "broken.bin" in message
    # The last word, which gradio sends once more, leaves the page as it is.
    assert list(player.play(recording, Latest())) == ["", {"__type__": "update"}]


def test_the_set_of_simulated_recordings_is_the_bundled_digits(shared_folder):
    splits = data.load("digits-simulated", shared_folder)
    assert splits.test.images.shape == (360, 10, 34, 34)
    assert splits.test.name == "digits-simulated"
    assert torch.equal(splits.test.targets, data.load("digits").test.targets)


def test_bands_fill_the_height_and_name_what_leads():
    places = np.arange(5.0)
    probabilities = np.array([[0.9, 0.1]] * 3 + [[0.2, 0.8]] * 2)
    picture = bands(places, probabilities, (0.0, 4.0), ("a", "<b>"), "shares")
    assert picture.count("<polygon") == 2
    assert 'aria-label="shares"' in picture
    assert "0.00,100.00" in picture
    assert ">a</span>" in picture
    assert "&lt;b&gt;" in picture
    names = re.findall(r"left:([\d.]+)%;top:([\d.]+)%", picture)
    assert all(0 < float(x) < 100 and 0 <= float(y) <= 100 for x, y in names)


def test_entropy_ends_at_the_logarithm_of_the_classes():
    picture = entropies(np.arange(2.0), np.log([2.0, 1.0]), np.zeros(2), (0.0, 1.0), 2)
    assert "0.00,0.00" in picture
    assert "from 0.00 to 0.69" in picture


def test_labels_stand_at_their_places():
    assert re.findall(r"left:([\d.]+)%", axis([(0.0, "0"), (5.0, "5")], (0.0, 10.0))) == ["0.00", "50.00"]
