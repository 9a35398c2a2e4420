"""One picture from a user's file, as the network's training images look."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

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
    """A picture in grey, light on dark, at the size of a network's images.

    Its shape is kept: what is missing to the network's shape is filled with the picture's background, the
    median of its border.

    Args:
        path: a PNG or JPEG file of at most 64 MiB and 2^26 pixels.
        image: shape (1, H, W) of the network's images.
        invert: whether the drawing is dark on light; None to take that from the background.

    Returns:
        uint8, shape (1, H, W), 0 dark to 255 light.

    Raises:
        DataError: if the file cannot be read.
        ValueError: if the network's images are not grey.
    """
    channels, height, width = image
    if channels != 1:
        raise ValueError(f"image must have 1 channel, grey, got shape {image}")
    grey = Image.fromarray(_read(path))
    background = _background(np.asarray(grey))
    fitted = ImageOps.pad(grey, (width, height), method=Image.Resampling.BOX, color=background)
    dark_on_light = background > 127 if invert is None else invert
    pixels = np.array(ImageOps.invert(fitted) if dark_on_light else fitted)
    return torch.from_numpy(pixels)[None]


def _read(path: Path) -> npt.NDArray[np.uint8]:
    try:
        _check_size(path)
        with warnings.catch_warnings():
            # Pillow's own limit is replaced by a smaller one, checked before anything is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as picture:
                _check_pixels(path, picture)
                return _grey(ImageOps.exif_transpose(picture))
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


def _grey(picture: Image.Image) -> npt.NDArray[np.uint8]:
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        return (np.asarray(picture).astype(np.uint16) >> 8).astype(np.uint8)
    if picture.has_transparency_data:
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture.convert("RGBA"))
    return np.asarray(picture.convert("L"))


def _background(pixels: npt.NDArray[np.uint8]) -> int:
    border = (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1])
    return int(np.median(np.concatenate(border)))
