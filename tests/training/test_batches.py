"""What an epoch shows of the training images."""

import numpy as np
import pytest
import torch

from nsm import models
from nsm.data import ImageSet
from nsm.training import with_overrides
from nsm.training.batches import shards
from tests.training.configs import digits

COUNT = 30
NET = models.build("digits-mlp", model="twin")


@pytest.fixture
def images():
    """Each of a class of its own."""
    pixels = torch.randint(
        256, (COUNT, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    return ImageSet(pixels, torch.arange(COUNT), tuple(map(str, range(COUNT))), "noise")


def shown(images, epoch, *changes):
    """What an epoch of four shows, in the order of the set."""
    config = with_overrides(digits(epochs=4, batch_size=8), changes)
    where = {"first": 0, "rank": 0, "processes": 1, "device": torch.device("cpu")}
    parts = list(shards(config, NET, images, epoch=epoch, **where))
    pixels, targets = torch.cat([part.images for part in parts]), torch.cat([part.targets for part in parts])
    return pixels[targets.argsort()]


def test_the_last_epochs_show_images_as_they_are(images):
    plain, _ = images.batch(torch.arange(COUNT))
    changed = [not torch.equal(shown(images, epoch, "shift=1", "until=0.5"), plain) for epoch in range(4)]
    assert changed == [True, True, False, False]
    always = shown(images, 1, "shift=1")
    assert torch.equal(shown(images, 1, "shift=1", "until=0.5"), always)
    assert all(not torch.equal(shown(images, epoch, "shift=1"), plain) for epoch in range(4))


def test_a_share_of_the_epochs_is_not_lengthened_by_rounding(images):
    plain, _ = images.batch(torch.arange(COUNT))
    # .07 * 100 is a little more than 7 in floats.
    assert not torch.equal(shown(images, 6, "shift=1", "until=0.07", "epochs=100"), plain)
    assert torch.equal(shown(images, 7, "shift=1", "until=0.07", "epochs=100"), plain)


def test_the_last_epochs_show_no_copies(images):
    plain, _ = images.batch(torch.arange(COUNT))
    bits = np.packbits(np.random.default_rng(2).random((2, COUNT, 64)) < 0.5, axis=2)
    copied = ImageSet(images.images, images.targets, images.classes, images.name, torch.from_numpy(bits))
    changed = [not torch.equal(shown(copied, epoch, "until=0.7"), plain) for epoch in range(4)]
    assert changed == [True, True, True, False]
