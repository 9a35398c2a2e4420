"""One picture from a user's file, as the network's training images look."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from nsm.data.errors import DataError

_FORMATS = ("PNG", "JPEG")
_FILE_LIMIT = 64 * 2**20
_PIXEL_LIMIT = 2**26
# What Pillow raises for damaged files.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def read_picture(path: Path, image: tuple[int, int, int], *, invert: bool | None = None) -> Tensor:
    """A picture at the size of a network's images: in grey, light on dark, or in colour as it is.

    Its shape is kept: what is missing to the network's shape is filled with the picture's background, the
    median of its border.

    Args:
        path: a PNG or JPEG file of at most 64 MiB and 2^26 pixels.
        image: shape (1, H, W) of the network's images, or (3, H, W): red, green, blue.
        invert: whether the drawing is dark on light; None to take that from the background (grey), or not to
            invert (colour).

    Returns:
        uint8, of shape ``image``, 0 dark to 255 light.

    Raises:
        DataError: if the file cannot be read.
        ValueError: if the network's images are neither grey nor of three colours.
    """
    channels, height, width = image
    if channels not in (1, 3):
        raise ValueError(f"image must have 1 channel, grey, or 3, red, green and blue, got shape {image}")
    picture = Image.fromarray(_read(path, "L" if channels == 1 else "RGB"))
    background = _background(np.atleast_3d(np.asarray(picture)))
    fitted = ImageOps.pad(picture, (width, height), method=Image.Resampling.BOX, color=background)
    dark_on_light = (channels == 1 and background[0] > 127) if invert is None else invert
    pixels = np.atleast_3d(np.array(ImageOps.invert(fitted) if dark_on_light else fitted))
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _read(path: Path, mode: Literal["L", "RGB"]) -> npt.NDArray[np.uint8]:
    try:
        _check_size(path)
        with warnings.catch_warnings():
            # Pillow's own limit is replaced by a smaller one, checked before anything is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as picture:
                _check_pixels(path, picture)
                return _pixels(ImageOps.exif_transpose(picture), mode)
    except DataError:
        raise
    except _BROKEN as error:
        system = error.strerror if isinstance(error, OSError) else None
        raise DataError(f"{path}: cannot be read ({system or 'not a PNG or JPEG picture'})") from error


def _check_size(path: Path) -> None:
    if path.stat().st_size > _FILE_LIMIT:
        raise DataError(f"{path}: larger than {_FILE_LIMIT} bytes")


def _check_pixels(path: Path, picture: Image.Image) -> None:
    if picture.width * picture.height > _PIXEL_LIMIT:
        raise DataError(f"{path}: {picture.width} x {picture.height} is more than {_PIXEL_LIMIT} pixels")


def _pixels(picture: Image.Image, mode: Literal["L", "RGB"]) -> npt.NDArray[np.uint8]:
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        picture = Image.fromarray((np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8))
    if picture.has_transparency_data:
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture.convert("RGBA"))
    return np.asarray(picture.convert(mode))


def _background(pixels: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """The median (C values) of the border of an image (H, W, C)."""
    border = np.concatenate((pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
    return tuple(int(value) for value in np.median(border, axis=0))
