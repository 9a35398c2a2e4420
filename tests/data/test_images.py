from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from nsm.data import ImageSet


def image_set():
    images = torch.arange(24, dtype=torch.uint8).reshape(4, 1, 2, 3) * 11
    return ImageSet(images, torch.tensor([0, 1, 1, 2]), ("a", "b", "c"), "small")


def test_a_batch_is_scaled_to_the_unit_interval():
    images, targets = image_set().batch(torch.tensor([3, 0]))
    assert images.dtype == torch.float32
    assert targets.dtype == torch.int64
    assert images.shape == (2, 1, 2, 3)
    assert torch.equal(images[0, 0], torch.arange(18, 24).reshape(2, 3) * 11 / 255)
    assert targets.tolist() == [2, 0]
    white = ImageSet(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8), torch.tensor([0]), ("a",), "white")
    assert float(white.batch(torch.tensor([0]))[0]) == 1.0


def test_an_image_by_its_number():
    images = image_set()
    whole, targets = images.batch(torch.arange(4))
    for index in (0, 3, -4, -1, np.int64(2), torch.tensor(1)):
        image, target = images[index]
        assert torch.equal(image, whole[int(index)])
        assert (image.dtype, type(target), target) == (torch.float32, int, int(targets[int(index)]))
    pairs = list(images)
    assert torch.equal(torch.stack([image for image, _ in pairs]), whole)
    assert [target for _, target in pairs] == targets.tolist()
    images[0][0].zero_()
    assert torch.equal(images.images, image_set().images)
    for index in (4, -5):
        with pytest.raises(IndexError, match=rf"index must be in \[-4, 3\], got {index}"):
            images[index]
    with pytest.raises(TypeError, match="integer"):
        images[1.0]


def test_a_loader_of_torch_takes_it():
    loader = DataLoader(image_set(), batch_size=3, sampler=[3, 0, 1, 2])
    for (images, targets), numbers in zip(loader, ([3, 0, 1], [2]), strict=True):
        expected = image_set().batch(torch.tensor(numbers))
        assert torch.equal(images, expected[0])
        assert torch.equal(targets, expected[1])


def test_a_subset_keeps_order_and_names():
    part = image_set().subset(torch.tensor([3, 1]))
    assert len(part) == 2
    assert part.targets.tolist() == [2, 1]
    assert torch.equal(part.images, image_set().images[[3, 1]])
    assert (part.classes, part.name) == (("a", "b", "c"), "small")


def test_an_empty_subset():
    empty = image_set().subset(torch.tensor([], dtype=torch.int64))
    assert len(empty) == 0
    assert empty.batch(torch.tensor([], dtype=torch.int64))[0].shape == (0, 1, 2, 3)


def test_a_batch_does_not_change_the_images():
    images = image_set()
    images.batch(torch.arange(4))[0].zero_()
    assert torch.equal(images.images, image_set().images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": torch.zeros(4, 1, 2, 3)}, r"images must be uint8 .* got torch.float32"),
        ({"images": torch.zeros(4, 2, 3, dtype=torch.uint8)}, r"images must be .* of shape \(4, 2, 3\)"),
        ({"images": np.zeros((4, 1, 2, 3), np.uint8)}, "images must be a tensor, got ndarray"),
        ({"targets": [0, 1, 1, 2]}, "targets must be a tensor, got list"),
        ({"copies": np.zeros((1, 4, 1), np.uint8)}, "copies must be a tensor, got ndarray"),
        ({"targets": torch.tensor([0, 1, 3, -1])}, r"targets must be in \[0, 2\], got 3"),
        ({"targets": torch.zeros(4)}, r"targets must be int64 .* got torch.float32"),
        ({"targets": torch.zeros(3, dtype=torch.int64)}, r"targets must be int64 of shape \(4,\), .* \(3,\)"),
    ],
)
def test_what_is_no_image_set_is_refused(change, message):
    fields = {
        "images": image_set().images,
        "targets": image_set().targets,
        "classes": ("a", "b", "c"),
        "name": "",
    }
    with pytest.raises(ValueError, match=message):
        ImageSet(**{**fields, **change})


def test_copies_are_kept_as_bits_and_shown_as_zeros_and_ones():
    shown = torch.arange(48).reshape(2, 4, 6) % 3 == 0
    bits = np.packbits(shown.numpy(), axis=2)
    copied = replace(image_set(), copies=torch.from_numpy(bits))
    images, targets = copied.batch(torch.tensor([3, 0]), torch.tensor([1, 0]))
    assert images.dtype == torch.float32
    assert torch.equal(images.flatten(1), torch.stack((shown[1, 3], shown[0, 0])).float())
    assert targets.tolist() == [2, 0]
    part = copied.subset(torch.tensor([3]))
    assert torch.equal(part.batch(torch.tensor([0]), torch.tensor([1]))[0], images[:1])
    with pytest.raises(
        ValueError, match=r"copies must be uint8 of shape \(K, 4, 1\), got .*uint8.* \(2, 3, 1\)"
    ):
        replace(copied, copies=copied.copies[:, :3])
