"""One picture from a user's file, as the network's training images look."""

from __future__ import annotations

import io
import os
import struct
import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from nsm.data.bounded import open_regular
from nsm.data.errors import DataError

_FORMATS = ("PNG", "JPEG")
_FILE_LIMIT = 64 * 2**20
_PIXEL_LIMIT = 2**26
_STRIP = 2**20  # pixels that are converted at a time
# What Pillow raises for damaged files.
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


def read_picture(path: str | Path, image: tuple[int, int, int], *, invert: bool | None = None) -> Tensor:
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
    read = _read(path, "L" if channels == 1 else "RGB")
    paper = background(np.atleast_3d(read))
    fitted = _fitted(Image.fromarray(read), (width, height), paper)
    dark_on_light = (channels == 1 and paper[0] > 127) if invert is None else invert
    pixels = np.atleast_3d(np.array(ImageOps.invert(fitted) if dark_on_light else fitted))
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def read_drawing(source: str | Path | bytes) -> npt.NDArray[np.uint8]:
    """A picture at its own size, in grey, light on dark: inverted where its border is light.

    Args:
        source: a PNG or JPEG file of at most 64 MiB and 2^26 pixels, or what it holds.

    Raises:
        DataError: if it cannot be read.
    """
    pixels = _read(source, "L")
    return 255 - pixels if background(pixels[:, :, None])[0] > 127 else pixels


def background(pixels: npt.NDArray[np.uint8]) -> tuple[int, ...]:
    """The median (C values) of the border of an image (H, W, C)."""
    border = np.concatenate((pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]))
    return tuple(int(value) for value in np.median(border, axis=0))


def _fitted(picture: Image.Image, size: tuple[int, int], paper: tuple[int, ...]) -> Image.Image:
    """The picture in the middle of a page of this width and height, as large as fits in its shape.

    Pillow's own function has no pixel left for what is much longer than wide.
    """
    width, height = size
    if picture.width / picture.height > width / height:
        inner = width, max(1, round(picture.height / picture.width * width))
    else:
        inner = max(1, round(picture.width / picture.height * height)), height
    page = Image.new(picture.mode, size, paper)
    corner = round((width - inner[0]) / 2), round((height - inner[1]) / 2)
    page.paste(picture.resize(inner, Image.Resampling.BOX), corner)
    return page


def _read(source: str | Path | bytes, mode: Literal["L", "RGB"]) -> npt.NDArray[np.uint8]:
    name = "the picture" if isinstance(source, bytes) else str(source)
    try:
        with _opened(source) as file:
            _check_size(name, file.seek(0, os.SEEK_END))
            file.seek(0)
            with warnings.catch_warnings():
                # Pillow's own limit is replaced by a smaller one, checked before anything is decoded; what
                # it warns of besides is metadata.
                warnings.simplefilter("ignore")
                with Image.open(file, formats=_FORMATS) as picture:
                    _check_pixels(name, picture)
                    ImageOps.exif_transpose(picture, in_place=True)
                    return _pixels(picture, mode)
    except DataError:
        raise
    except _BROKEN as error:
        system = error.strerror if isinstance(error, OSError) else None
        raise DataError(f"{name}: cannot be read ({system or 'not a PNG or JPEG picture'})") from error


def _opened(source: str | Path | bytes) -> io.BytesIO | io.BufferedReader:
    return io.BytesIO(source) if isinstance(source, bytes) else io.BufferedReader(open_regular(Path(source)))


def _check_size(name: str, size: int) -> None:
    if size > _FILE_LIMIT:
        raise DataError(f"{name}: larger than {_FILE_LIMIT} bytes")


def _check_pixels(name: str, picture: Image.Image) -> None:
    if picture.width * picture.height > _PIXEL_LIMIT:
        raise DataError(f"{name}: {picture.width} x {picture.height} is more than {_PIXEL_LIMIT} pixels")


def _pixels(picture: Image.Image, mode: Literal["L", "RGB"]) -> npt.NDArray[np.uint8]:
    """Its pixels (H, W) or (H, W, 3), a few rows at a time: a large picture is in memory once."""
    width, height = picture.size
    pixels = np.empty((height, width) if mode == "L" else (height, width, 3), np.uint8)
    rows = max(1, _STRIP // width)
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        pixels[top:bottom] = _converted(picture.crop((0, top, width, bottom)), mode)
    return pixels


def _converted(picture: Image.Image, mode: Literal["L", "RGB"]) -> npt.NDArray[np.uint8]:
    if picture.mode.startswith("I"):  # 16 bits, which Pillow would cut off at 255
        values, transparent = np.asarray(picture).astype(np.uint16), picture.info.get("transparency")
        picture = Image.fromarray((values >> 8).astype(np.uint8))
        if transparent is not None:
            picture.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    if picture.has_transparency_data:
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture.convert("RGBA"))
    return np.asarray(picture.convert(mode))
