"""Images that a network did not learn: turned, corrupted, or of something else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from nsm import data, random
from nsm.data import ImageSet
from nsm.data.folder import data_root
from nsm.training import augment

ANGLES = (0, 30, 60, 90, 120, 150, 180)
STRENGTHS = (1, 2, 3, 4, 5)
_SEED = 0
_CIFAR = Path("cifar-10-batches-bin") / "test_batch.bin"
_CIFAR_RECORD = 1 + 3 * 32 * 32


class Shifted(NamedTuple):
    """Images of one kind.

    Attributes:
        kind: such as ``"rotation"``, ``"none"`` for images as they are, or ``"unknown"`` for images of no
            known class.
        name: which of that kind, such as ``"blur"``.
        strength: degrees or a number from 1 to 5; 0 where there is none.
        images: uint8, with their targets; those of unknown images mean nothing.
    """

    kind: str
    name: str
    strength: int
    images: ImageSet

    @property
    def is_known(self) -> bool:
        """Whether the images show a class that the network learned."""
        return self.kind != "unknown"


def rotated(images: ImageSet, degrees: Tensor) -> ImageSet:
    """Each image turned counter-clockwise by its own angle (N,), in degrees."""
    size = (images.images.shape[2], images.images.shape[3])
    return _changed(images, lambda pixels: augment.apply(pixels, augment.rotations(degrees, size)))


def any_angle(images: ImageSet) -> ImageSet:
    """Each image turned by an angle between 0 and 180 degrees, a function of its place alone."""
    return rotated(images, 180.0 * _uniform(len(images), 1, "angles")[:, 0].float())


def known(images: ImageSet) -> Iterator[Shifted]:
    """The images turned by each angle, and with each corruption at each strength."""
    for angle in ANGLES:
        turned = rotated(images, torch.full((len(images),), float(angle)))
        yield Shifted("rotation", "rotation", angle, turned)
    for name, corrupt in CORRUPTIONS.items():
        for strength in STRENGTHS:

            def apply(pixels: Tensor, corrupt: Corruption = corrupt, strength: int = strength) -> Tensor:
                return corrupt(pixels, strength)

            yield Shifted("corruption", name, strength, _changed(images, apply))


def unknown(known: ImageSet, count: int, root: Path | None) -> Iterator[Shifted]:
    """Up to ``count`` images of other things than ``known`` shows, of its shape: of those that are in the
    data folder, and uniform noise. Photographs lose their colours beside grey images; those get three equal
    ones beside photographs, and a black margin.
    """
    shape = (known.images.shape[1], known.images.shape[2], known.images.shape[3])
    for name, title in (("mnist", "MNIST"), ("fashion-mnist", "Fashion-MNIST")):
        if known.name != name and data.is_present(name, root):
            images = _fitting(data.load(name, root).test.images[:count], shape)
            if images is not None:
                yield Shifted("unknown", title, 0, _unlabelled(images, name))
    path = data_root(root) / _CIFAR
    if shape[0] == 1 and path.is_file():
        yield Shifted("unknown", "CIFAR-10, grey", 0, _grey_cifar(path, count, shape[1:]))
    noise = _uniform(count, math.prod(shape), "noise").mul(256.0).floor().to(torch.uint8)
    yield Shifted("unknown", "uniform noise", 0, _unlabelled(noise.view(count, *shape), "noise"))


def _fitting(grey: Tensor, shape: tuple[int, int, int]) -> Tensor | None:
    """Grey images (N, 1, H, W) in the middle of black ones of this shape; None where they are larger."""
    channels, height, width = shape
    top, left = height - grey.shape[2], width - grey.shape[3]
    if min(top, left) < 0:
        return None
    framed = F.pad(grey, (left // 2, left - left // 2, top // 2, top - top // 2))
    return framed.expand(-1, channels, -1, -1).contiguous()


def _grey_cifar(path: Path, count: int, size: tuple[int, int]) -> ImageSet:
    """The middle of CIFAR-10 test images, the mean of their colours."""
    with path.open("rb") as file:
        content = file.read(count * _CIFAR_RECORD)
    records = np.frombuffer(content[: len(content) // _CIFAR_RECORD * _CIFAR_RECORD], np.uint8)
    colours = torch.from_numpy(records.reshape(-1, _CIFAR_RECORD)[:, 1:].copy()).view(-1, 3, 32, 32)
    grey = colours.float().mean(1, keepdim=True).round().to(torch.uint8)
    top, left = (32 - size[0]) // 2, (32 - size[1]) // 2
    return _unlabelled(grey[:, :, top : top + size[0], left : left + size[1]].contiguous(), "cifar10-grey")


def _unlabelled(images: Tensor, name: str) -> ImageSet:
    return ImageSet(images, torch.zeros(len(images), dtype=torch.int64), tuple("0123456789"), name)


# From images in [0, 1] and a strength to changed images.
Corruption = Callable[[Tensor, int], Tensor]


def _gaussian_noise(pixels: Tensor, strength: int) -> Tensor:
    places = torch.arange(len(pixels))
    rows = random.row_indices(strength, places)
    seed = torch.tensor(random.derive(_SEED, "corruption", "noise"))
    drawn = random.normal(seed, rows, pixels[0].numel(), random.place()).view_as(pixels)
    return pixels + 0.12 * strength * drawn


def _impulses(pixels: Tensor, strength: int) -> Tensor:
    uniform = _uniform(len(pixels), pixels[0].numel(), f"impulses {strength}").view_as(pixels).float()
    share = 0.05 * strength
    return torch.where(uniform < share, (uniform < share / 2).float(), pixels)


def _blur(pixels: Tensor, strength: int) -> Tensor:
    width = 0.5 * strength
    reach = math.ceil(3.0 * width)
    places = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (places / width).square())
    kernel = (kernel / kernel.sum()).view(1, 1, -1, 1)
    once = F.conv2d(pixels.flatten(0, 1)[:, None], kernel, padding=(reach, 0))
    return F.conv2d(once, kernel.mT, padding=(0, reach)).view_as(pixels)


def _low_contrast(pixels: Tensor, strength: int) -> Tensor:
    return 0.5 + (pixels - 0.5) * (1.0 - 0.18 * strength)


def _occlusion(pixels: Tensor, strength: int) -> Tensor:
    height, width = pixels.shape[2:]
    side = 2 * strength + 2
    corner = _uniform(len(pixels), 2, "occlusion") * torch.tensor([height - side + 1, width - side + 1])
    top, left = corner.floor().long().unbind(1)
    rows, columns = torch.arange(height), torch.arange(width)
    inside_rows = (rows >= top[:, None]) & (rows < top[:, None] + side)
    inside_columns = (columns >= left[:, None]) & (columns < left[:, None] + side)
    return pixels.masked_fill((inside_rows[:, :, None] & inside_columns[:, None])[:, None], 0.0)


CORRUPTIONS: Mapping[str, Corruption] = {
    "Gaussian noise": _gaussian_noise,
    "impulse noise": _impulses,
    "blur": _blur,
    "low contrast": _low_contrast,
    "occlusion": _occlusion,
}


def _changed(images: ImageSet, change: Callable[[Tensor], Tensor]) -> ImageSet:
    pixels, targets = images.batch(torch.arange(len(images)))
    changed = change(pixels).clamp(0.0, 1.0).mul(255.0).round().to(torch.uint8)
    return ImageSet(changed, targets, images.classes, images.name)


def _uniform(count: int, each: int, what: str) -> Tensor:
    """float64 (count, each) in (0, 1): each row is a function of its number alone."""
    rows = random.row_indices(0, torch.arange(count))
    seed = torch.tensor(random.derive(_SEED, "corruption", what))
    return random.uniform(random.words(seed, rows, each, random.place()))
