import numpy as np
import pytest
import torch
from PIL import Image

from nsm import data
from nsm.data import DataError
from nsm.demo.pictures import PAD, data_url, from_pad, to_pad


def test_a_digit_goes_to_the_pad_and_comes_back():
    images = data.load("digits").test.images[:100]
    back = torch.stack([from_pad(to_pad(image[0].numpy()), "digits") for image in images])
    # A digit that reaches an edge on one side only is centred anew.
    same = (back - images / 255.0).abs().amax((1, 2, 3)) < 0.07
    assert same.float().mean() > 0.7


def test_a_picture_of_any_shape_fits_the_pad():
    url = to_pad(np.full((10, 1000), 30, np.uint8))
    assert url.startswith("data:image/png;base64,")
    with pytest.raises(DataError, match="blank"):
        from_pad(url, "mnist")


def test_an_empty_pad_is_no_image():
    assert from_pad("", "digits") is None
    assert from_pad(None, "digits") is None


@pytest.mark.parametrize(
    "url",
    [
        7,
        "hello",
        "data:image/png;base64,%%%",
        "data:image/png;base64,aGVsbG8=",
        "data:image/png;base64," + "A" * 2**20,
        "https://example.com/picture.png",
    ],
)
def test_what_is_no_drawing_is_refused(url):
    with pytest.raises(DataError, match=r"picture|drawing"):
        from_pad(url, "digits")


def test_a_drawing_is_framed_as_mnist_is():
    drawing = Image.new("L", (PAD, PAD), 255)
    drawing.paste(0, (200, 20, 240, 220))
    image = from_pad(data_url(drawing), "mnist")
    assert image.shape == (1, 28, 28)
    assert image.max() == 1.0
    assert (image[0].amax(1) > 0).nonzero()[:, 0].tolist() == list(range(5, 25))
