"""Drawings brought to the size and place that a data set's own images have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nsm.data.errors import DataError
from nsm.data.picture import background

# Of 255: fainter ink does not count for the drawing's extent, and a picture without any stronger is blank.
_FAINT, _BLANK = 8, 48


@dataclass(frozen=True)
class Framing:
    """How the drawings of a data set were brought to one size.

    Attributes:
        box: side of the square into which the ink is scaled, with its shape kept, in pixels.
        by_mass: whether the ink's centre of mass comes to the image's centre, or the middle of its extent.
    """

    box: int
    by_mass: bool


# MNIST: 20 pixels inside 28, centred by mass (LeCun et al., Proc. IEEE 86:2278, 1998). EMNIST: two pixels of
# border of 28, centred by extent (Cohen et al., arXiv:1702.05373). The bundled digits fill their height.
FRAMINGS: Mapping[str, Framing] = MappingProxyType(
    {
        "digits": Framing(box=8, by_mass=False),
        "mnist": Framing(box=20, by_mass=True),
        "emnist-letters": Framing(box=24, by_mass=False),
    }
)


def framed(drawing: NDArray[np.uint8], size: tuple[int, int], framing: Framing) -> Tensor:
    """A drawing as an image of a data set.

    The background, the median of the border, becomes 0 and the strongest ink 255. Whole pixels are moved, so
    that no edge is blurred: the centre of mass comes within half a pixel of pixel (H // 2, W // 2), where
    MNIST has it.

    Args:
        drawing: light on dark, of any size (h, w).
        size: (H, W) of the image, at least ``framing.box``.
        framing: of the data set.

    Returns:
        uint8, (1, H, W).

    Raises:
        DataError: if nothing is drawn, or nothing of it is left at that size.
    """
    ground = background(drawing[:, :, None])[0]
    strongest = int(drawing.max(initial=0)) - ground
    if strongest < _BLANK:
        raise DataError("the picture is blank: nothing stands out from its background")
    # Of each of the values that a pixel can have; a large drawing is never held in wider numbers.
    ink = np.clip((np.arange(256) - ground) * (255.0 / strongest), 0.0, 255.0).round().astype(np.uint8)
    seen = drawing >= np.argmax(ink >= _FAINT)
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    scaled = _scaled(drawing[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], ink, framing.box)
    if not scaled.any():
        raise DataError(f"the picture's lines are too thin: nothing is left of them in {framing.box} pixels")
    image = np.zeros(size, np.uint8)
    height, width = scaled.shape
    top, left = _corner(scaled, size, framing)
    # A heavy corner may push the rest over the edge; what is beyond is lost, as it is in the data set.
    inside = scaled[max(0, -top) : size[0] - top, max(0, -left) : size[1] - left]
    top, left = max(0, top), max(0, left)
    image[top : top + height, left : left + width][: len(inside), : inside.shape[1]] = inside
    return torch.from_numpy(image)[None]


def _scaled(drawing: NDArray[np.uint8], ink: NDArray[np.uint8], box: int) -> NDArray[np.uint8]:
    """The ink of a drawing, given by value, at the size of the box: averaged where it shrinks, interpolated
    where it grows.
    """
    height, width = drawing.shape
    scale = box / max(height, width)
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    method = Image.Resampling.BOX if scale < 1.0 else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(drawing).point(ink.tolist()).resize(shape, method))


def _corner(ink: NDArray[np.uint8], size: tuple[int, int], framing: Framing) -> tuple[int, int]:
    """Row and column of the image at which the ink begins."""
    if not framing.by_mass:
        return (size[0] - ink.shape[0] + 1) // 2, (size[1] - ink.shape[1] + 1) // 2
    rows, columns = ink.sum(1, dtype=np.float64), ink.sum(0, dtype=np.float64)
    row = np.average(np.arange(len(rows)), weights=rows)
    column = np.average(np.arange(len(columns)), weights=columns)
    return int(np.floor(size[0] // 2 - row + 0.5)), int(np.floor(size[1] // 2 - column + 0.5))
