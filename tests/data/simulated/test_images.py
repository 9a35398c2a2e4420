"""Simulated recordings as a data set."""

import importlib

import numpy as np
import pytest
import torch

from nsm import data
from nsm.data import ImageSet
from nsm.data.events.representations import NMNIST_FRAMES
from nsm.data.simulated import simulate
from nsm.data.simulated.images import as_recordings
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
