"""Pictures as the page and the library exchange them: data URLs of PNG files."""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nsm.data import DataError, describe, read_drawing
from nsm.data.framing import FRAMINGS, framed

PAD = 280  # pixels, ten for each of MNIST's
_PREFIX = "data:image/png;base64,"
_URL_LIMIT = 2**20


def from_pad(url: object, set_name: str) -> Tensor | None:
    """What is on the drawing pad as an image of a data set: float (1, H, W) in [0, 1]; None for nothing.

    Args:
        url: what the page sent.
        set_name: the data set.

    Raises:
        DataError: if that is no picture.
    """
    if url in (None, ""):
        return None
    if not isinstance(url, str) or not url.startswith(_PREFIX) or len(url) > _URL_LIMIT:
        raise DataError("the drawing must be a PNG file of less than 1 MiB as a data URL")
    try:
        content = base64.b64decode(url[len(_PREFIX) :], validate=True)
    except binascii.Error as error:
        raise DataError("the drawing must be a PNG file in base64") from error
    _, height, width = describe(set_name).image
    return framed(read_drawing(content), (height, width), FRAMINGS[set_name]) / 255.0


def to_pad(drawing: NDArray[np.uint8]) -> str:
    """A drawing, light on dark and of any size, as dark ink on the pad's paper."""
    height, width = drawing.shape
    scale = PAD / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    # Few pixels stay squares, many are averaged.
    method = Image.Resampling.BOX if scale < 1.0 else Image.Resampling.NEAREST
    fitted = Image.fromarray(255 - drawing).resize(size, method)
    paper = Image.new("L", (PAD, PAD), fitted.getpixel((0, 0)))
    paper.paste(fitted, ((PAD - size[0]) // 2, (PAD - size[1]) // 2))
    return data_url(paper)


def thumbnail(image: NDArray[np.floating]) -> str:
    """A grey image (H, W) in [0, 1], 0 black, as dark ink on white."""
    return data_url(Image.fromarray(np.rint(255.0 * (1.0 - image)).astype(np.uint8)))


def data_url(picture: Image.Image) -> str:
    """A picture as a data URL."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return _PREFIX + base64.b64encode(file.getvalue()).decode()
