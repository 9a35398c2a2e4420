import tracemalloc

import numpy as np
import pytest
import torch
from PIL import Image

from nsm import data
from nsm.data import DataError
from nsm.data.framing import FRAMINGS, framed

MNIST = FRAMINGS["mnist"]
SIZE = (28, 28)


def canvas(side=280, dtype=np.uint8):
    return np.zeros((side, side), dtype)


def as_drawn(image, scale=10):
    """An image as a large drawing on a canvas."""
    return np.kron(image, np.ones((scale, scale), np.uint8))


def test_a_bar_fills_the_height_and_is_centred_by_mass():
    drawing = canvas()
    drawing[20:220, 200:240] = 255  # 200 x 40 becomes 20 x 4
    expected = np.zeros(SIZE, np.uint8)
    # Centre of mass 14 in both directions, to half a pixel: rows 4.5 to 23.5 would be 14 exactly.
    expected[5:25, 13:17] = 255
    image = framed(drawing, SIZE, MNIST)
    assert image.dtype == torch.uint8
    assert torch.equal(image[0], torch.from_numpy(expected))


def test_the_heavy_side_comes_to_the_centre():
    drawing = canvas()
    drawing[100:300, 40:60] = 255
    drawing[100:200, 40:160] = 255  # an F, heavier at the top
    image = framed(drawing, SIZE, MNIST)[0].double()
    mass = image.sum()
    for axis in (0, 1):
        place = (image.sum(1 - axis) * torch.arange(28)).sum() / mass
        assert 13.5 <= place <= 14.5


def test_grey_levels_are_the_share_of_ink():
    drawing = canvas()
    drawing[0:100, 0:100] = 200
    drawing[0:5, :100] = 0  # half of the first row of pixels after scaling
    drawing[10:15, 40:45] = 0
    image = framed(drawing, (28, 28), MNIST)[0].numpy()
    rows = np.flatnonzero(image.max(1))
    assert len(rows) in (19, 20)
    assert image.max() == 255


def test_what_mnist_made_is_left_as_it_is(data_folder):
    images = data.load("mnist", data_folder).test.images[:500, 0].numpy()
    same = [np.abs(framed(image, SIZE, MNIST)[0].numpy().astype(int) - image).max() <= 6 for image in images]
    assert np.mean(same) > 0.97
    large = [framed(as_drawn(image), SIZE, MNIST)[0].numpy() for image in images]
    same = [np.abs(one.astype(int) - image).max() <= 6 for one, image in zip(large, images, strict=True)]
    assert np.mean(same) > 0.97


def test_the_bundled_digits_stay_recognisable():
    images = data.load("digits").test.images[:100, 0].numpy()
    difference = [
        np.abs(framed(as_drawn(image, 35), (8, 8), FRAMINGS["digits"])[0].numpy().astype(int) - image).mean()
        for image in images
    ]
    assert np.median(difference) < 8.0


def test_a_wide_drawing_is_scaled_by_its_width():
    drawing = canvas()
    drawing[135:145, 40:240] = 255
    image = framed(drawing, (8, 8), FRAMINGS["digits"])[0]
    assert (image.amax(1) > 0).sum() == 1
    assert (image.amax(0) > 0).all()


def test_a_small_drawing_grows():
    drawing = canvas(100)
    drawing[90:95, 3:5] = 120
    image = framed(drawing, SIZE, MNIST)[0]
    assert int((image.amax(1) > 0).sum()) == 20
    assert image.max() == 255


def test_a_heavy_corner_pushes_the_rest_over_the_edge():
    drawing = canvas(20)
    drawing[0, :] = 30
    drawing[:, 0] = 30
    drawing[19, 19] = 255
    drawing[12:19, 12:19] = 255
    image = framed(drawing, SIZE, MNIST)
    assert image.shape == (1, *SIZE)


def test_lines_too_thin_to_be_seen_are_refused():
    drawing = canvas(3000)
    drawing[10, 10] = drawing[2900, 2900] = 255
    with pytest.raises(DataError, match="too thin: nothing is left of them in 20 pixels"):
        framed(drawing, SIZE, MNIST)


def test_a_large_drawing_needs_no_more_than_its_bytes_twice():
    drawing = canvas(4000)
    drawing[100:3900, 500:900] = 255
    tracemalloc.start()
    try:
        framed(drawing, SIZE, MNIST)
        assert tracemalloc.get_traced_memory()[1] < 2 * drawing.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("paper", [0, 90, 255])
def test_a_blank_picture_is_refused(paper):
    with pytest.raises(DataError, match="blank"):
        framed(np.full((50, 50), paper, np.uint8), SIZE, MNIST)


def test_a_picture_of_dark_ink_is_read_light_on_dark(tmp_path):
    drawing = canvas(56)
    drawing[10:40, 20:30] = 255
    path = tmp_path / "dark.png"
    Image.fromarray(255 - drawing).save(path)
    for source in (path, path.read_bytes()):
        assert np.array_equal(data.read_drawing(source), drawing)
    with pytest.raises(DataError, match="the picture: cannot be read"):
        data.read_drawing(b"no picture")
