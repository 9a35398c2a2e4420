"""Simulated recordings as a data set."""

import importlib

import numpy as np
import pytest
import torch

from nsm import data
from nsm.data import ImageSet
from nsm.data.events import EventAugmentation
from nsm.data.events.representations import NMNIST_FRAMES
from nsm.data.simulated import simulate
from nsm.data.simulated.images import as_recordings, copies_of
from tests.data.events.recordings import lay_out_nmnist
from tests.data.simulated.test_saccades import images


@pytest.fixture
def seen():
    return ImageSet(images(4), torch.tensor([0, 1, 2, 0]), ("a", "b", "c"), "strokes")


def test_each_image_becomes_ten_bins_of_its_recording(seen, tmp_path):
    for _ in range(2):  # made, then from the cache
        made = as_recordings(seen, "strokes-simulated", tmp_path, seed=5, first=9)
        assert made.name == "strokes-simulated"
        assert torch.equal(made.targets, seen.targets)
        for image, events in zip(made.images, simulate(seen.images, seed=5, first=9), strict=True):
            assert np.array_equal(image.numpy(), 255 * NMNIST_FRAMES(events)[:, 0])
    assert len(list(tmp_path.iterdir())) == 1
    as_recordings(seen, "strokes-simulated", tmp_path, seed=6, first=9)
    assert len(list(tmp_path.iterdir())) == 2


def test_the_set_is_read_from_mnist_and_simulated(seen, tmp_path, monkeypatch):
    module = importlib.import_module("nsm.data.load")
    parts = module._Parts(seen, seen.subset(torch.tensor([2, 1])))
    monkeypatch.setattr(module, "_read", lambda *_: parts)
    train, _, test = data.load("nmnist-simulated", tmp_path, validation=0)
    assert train.name == test.name == "nmnist-simulated"
    assert train.images.shape[1:] == (10, 34, 34)
    assert len(test) == 2
    # Test recordings have numbers of their own: the same image is recorded anew.
    assert not torch.equal(test.images[1], train.images[1])


def test_copies_are_of_the_same_recordings(seen, tmp_path):
    changes = EventAugmentation(drop=0.2)
    for _ in range(2):  # made, then from the cache
        made = copies_of(seen, changes, tmp_path, copies=2, seed=5, first=9)
    assert made.shape == (2, 4, 10 * 34 * 34 // 8)
    for number, events in enumerate(simulate(seen.images, seed=5, first=9)):
        for copy in range(2):
            changed = changes(events, (34, 34, 2), seed=0, example=9 + number, epoch=copy)
            assert np.array_equal(np.unpackbits(made[copy, number].numpy()), NMNIST_FRAMES(changed).ravel())


def test_events_of_the_bundled_digits_can_be_changed(tmp_path, monkeypatch):
    module = importlib.import_module("nsm.data.load")
    train, _, test = data.load("digits", validation=0)
    parts = module._Parts(train.subset(torch.arange(20)), test.subset(torch.arange(5)))
    monkeypatch.setattr(module, "_bundled_digits", lambda _: parts)
    changes = EventAugmentation(drop=0.2)
    splits = data.load("digits-simulated", tmp_path, validation=0, changes=changes, copies=2)
    assert splits.train.copies.shape == (2, 20, 10 * 34 * 34 // 8)
    assert splits.test.copies is None
    with pytest.raises(ValueError, match="changes of events need recordings, but digits holds images"):
        data.load("digits", tmp_path, changes=changes)


@pytest.fixture
def sixteen(monkeypatch):
    """MNIST with twelve training and four test images."""
    module = importlib.import_module("nsm.data.load")
    pictures = ImageSet(images(16), torch.arange(16) % 10, tuple("0123456789"), "mnist")
    parts = module._Parts(pictures.subset(torch.arange(12)), pictures.subset(torch.arange(12, 16)))
    monkeypatch.setattr(module, "_read", lambda *_: parts)


@pytest.mark.usefixtures("sixteen")
def test_the_first_recordings_are_those_of_the_whole_set(tmp_path):
    every = data.load("nmnist-simulated", tmp_path, validation=0)
    few = data.load("nmnist-simulated", tmp_path, validation=0, simulated=5)
    assert (len(few.train), len(few.test)) == (5, 2)
    assert torch.equal(few.train.images, every.train.images[:5])
    assert torch.equal(few.test.images, every.test.images[:2])


@pytest.mark.usefixtures("sixteen")
def test_images_with_a_real_recording_can_be_left_out(tmp_path):
    every = data.load("nmnist-simulated", tmp_path, validation=0).train
    assert len(data.load("nmnist-simulated", tmp_path, validation=0, unrecorded=True).train) == 12
    lay_out_nmnist(tmp_path, per_digit=(1, 1))  # recordings named 0 to 9: of the images 0 to 8
    rest = data.load("nmnist-simulated", tmp_path, validation=0, unrecorded=True).train
    assert torch.equal(rest.images, every.images[9:])


def test_the_same_bytes_in_another_shape_are_other_recordings(tmp_path):
    pixels = torch.randint(
        0, 256, (2, 1, 16, 36), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    targets = torch.tensor([0, 1])
    made = [
        as_recordings(ImageSet(images, targets, ("0", "1"), "strokes"), "strokes-simulated", tmp_path, seed=0)
        for images in (pixels, pixels.view(2, 1, 24, 24))
    ]
    assert not torch.equal(made[0].images, made[1].images)
