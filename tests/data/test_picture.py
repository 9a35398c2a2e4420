import io
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from nsm.data import DataError, read_drawing, read_picture

SHAPE = (1, 8, 8)


def drawing(size=8):
    """A light bar on a dark ground."""
    pixels = np.zeros((size, size), np.uint8)
    pixels[size // 4 : -size // 4, size // 2] = 200
    return pixels


def saved(tmp_path, picture, name="picture.png", **options):
    path = tmp_path / name
    (Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(path, **options)
    return path


def test_light_on_dark_is_read_as_it_is(tmp_path):
    pixels = read_picture(saved(tmp_path, drawing()), SHAPE)
    assert pixels.dtype == torch.uint8
    assert torch.equal(pixels, torch.from_numpy(drawing())[None])


def test_dark_on_light_is_inverted_unless_told_otherwise(tmp_path):
    path = saved(tmp_path, 255 - drawing())
    assert torch.equal(read_picture(path, SHAPE), torch.from_numpy(drawing())[None])
    assert torch.equal(read_picture(path, SHAPE, invert=True), torch.from_numpy(drawing())[None])
    assert torch.equal(read_picture(path, SHAPE, invert=False), torch.from_numpy(255 - drawing())[None])


def test_a_larger_picture_is_averaged(tmp_path):
    large = np.kron(drawing(), np.ones((5, 5), np.uint8))
    assert torch.equal(read_picture(saved(tmp_path, large), SHAPE), torch.from_numpy(drawing())[None])


def test_shape_is_kept_and_the_background_goes_on(tmp_path):
    wide = np.full((4, 8), 250, np.uint8)
    wide[1:3, 1:7] = 0
    pixels = read_picture(saved(tmp_path, wide), SHAPE)[0]
    assert (pixels[:2] == 5).all()
    assert (pixels[3:5, 1:7] == 255).all()
    assert (pixels[6:] == 5).all()


@pytest.mark.parametrize(("height", "width"), [(2, 3000), (60_000, 1)])
def test_a_line_stays_a_line(tmp_path, height, width):
    grey = read_picture(saved(tmp_path, np.full((height, width), 200, np.uint8)), (1, 8, 8), invert=False)
    assert (grey == 200).all()
    ink = np.zeros((height, width, 3), np.uint8)
    ink[: max(1, height // 4), : max(1, width // 4)] = (250, 120, 10)
    if height < width:
        ink[1] = ink[0]
    read = read_picture(saved(tmp_path, ink), (3, 8, 8))
    expected = torch.zeros(3, 8, 8, dtype=torch.uint8)
    line = expected[:, 4] if height < width else expected[:, :, 4]
    line[:, :2] = torch.tensor([[250], [120], [10]])
    assert torch.equal(read, expected)


def test_strips_of_a_large_picture_fit_together(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 4), np.uint8)
    path = saved(tmp_path, pixels)
    whole = read_drawing(path)
    monkeypatch.setattr("nsm.data.picture._STRIP", 7 * 30)
    assert np.array_equal(read_drawing(path), whole)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"])
def test_every_kind_of_png(tmp_path, mode):
    black = Image.fromarray(np.where(drawing() > 0, 255, 0).astype(np.uint8))
    if mode == "I;16":
        picture = Image.fromarray(np.asarray(black).astype(np.uint16) * 257)
    else:
        picture = black.convert(mode)
    assert torch.equal(read_picture(saved(tmp_path, picture), SHAPE), torch.from_numpy(np.array(black))[None])


def test_transparent_is_paper(tmp_path):
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[2:6, 4, 3] = 255
    pixels = read_picture(saved(tmp_path, Image.fromarray(ink)), SHAPE)[0]
    assert torch.equal(pixels > 128, torch.from_numpy(ink[..., 3] > 0))


def test_the_transparent_grey_of_sixteen_bits_is_paper(tmp_path):
    ink = np.where(drawing() > 0, 40000, 500).astype(np.uint16)
    ink[0, 0] = 501  # another grey, the same in eight bits
    path = saved(tmp_path, Image.fromarray(ink), transparency=500)
    pixels = read_picture(path, SHAPE, invert=False)[0]
    assert torch.equal(pixels == 255, torch.from_numpy(ink == 500))
    assert pixels[0, 0] == 1


def test_jpeg_turned_by_a_camera(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    large = np.kron(drawing(), np.ones((8, 8), np.uint8))
    path = saved(tmp_path, large, "picture.jpg", exif=exif, quality=95)
    pixels = read_picture(path, SHAPE)[0]
    assert torch.equal(pixels > 100, torch.from_numpy(np.rot90(drawing(), -1) > 100))


def test_damaged_metadata_is_passed_over_in_silence(tmp_path):
    broken = b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"  # a directory of 65535 entries, none of them there
    large = np.kron(drawing(), np.ones((8, 8), np.uint8))
    path = saved(tmp_path, large, "picture.jpg", exif=broken, quality=95)
    assert torch.equal(read_picture(path, SHAPE)[0] > 100, torch.from_numpy(drawing() > 100))


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def whole():
    file = io.BytesIO()
    Image.fromarray(drawing()).save(file, "PNG")
    return file.getvalue()


def gif():
    file = io.BytesIO()
    Image.fromarray(drawing()).save(file, "GIF")
    return file.getvalue()


def text_bomb():
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    file = io.BytesIO()
    Image.fromarray(drawing()).save(file, "PNG", pnginfo=info)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (b"", "not a PNG or JPEG picture"),
        (b"hello", "not a PNG or JPEG picture"),
        (gif(), "not a PNG or JPEG picture"),
        (whole()[:-30], "not a PNG or JPEG picture"),
        (whole()[:20], "not a PNG or JPEG picture"),
        (text_bomb(), "not a PNG or JPEG picture"),
        (png(9000, 9000), "9000 x 9000 is more than 67108864 pixels"),
        (png(60_000, 60_000), "not a PNG or JPEG picture"),
    ],
    ids=["empty", "text", "gif", "short", "header", "text bomb", "large", "bomb"],
)
def test_hostile_files_get_a_clear_error(tmp_path, content, answer):
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=answer) as caught:
        read_picture(path, SHAPE)
    assert str(path) in str(caught.value)


def test_a_file_too_large_is_not_opened(tmp_path):
    path = tmp_path / "picture.png"
    with path.open("wb") as file:
        file.truncate(2**26 + 1)
    with pytest.raises(DataError, match="larger than 67108864 bytes"):
        read_picture(path, SHAPE)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for read in (read_drawing, lambda path: read_picture(path, SHAPE)):
        with pytest.raises(DataError, match=rf"{tmp_path / 'pipe'}: cannot be read \(no regular file\)"):
            read(tmp_path / "pipe")


def test_a_name_will_do_for_a_path(tmp_path):
    path = saved(tmp_path, drawing())
    assert torch.equal(read_picture(str(path), SHAPE), read_picture(path, SHAPE))
    assert np.array_equal(read_drawing(str(path)), drawing())
    with pytest.raises(DataError, match=r"absent.png: cannot be read \(No such file"):
        read_picture("absent.png", SHAPE)


def test_a_network_for_colours_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"image must have 1 channel, grey, or 3, .* got shape \(2, 8, 8\)"):
        read_picture(saved(tmp_path, drawing()), (2, 8, 8))


def test_a_network_of_colours_gets_colours(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[2:6, 2:6] = (250, 120, 10)
    read = read_picture(saved(tmp_path, pixels), (3, 8, 8))
    assert torch.equal(read, torch.from_numpy(pixels).permute(2, 0, 1))
    # A light border says nothing of a photograph.
    light = 255 - pixels
    assert torch.equal(
        read_picture(saved(tmp_path, light), (3, 8, 8)), torch.from_numpy(light).permute(2, 0, 1)
    )
    assert torch.equal(read_picture(saved(tmp_path, light), (3, 8, 8), invert=True), read)


def test_what_is_missing_to_a_photographs_shape_is_its_borders_colour(tmp_path):
    pixels = np.full((8, 4, 3), (200, 100, 50), np.uint8)
    pixels[3:5, 1:3] = 0
    read = read_picture(saved(tmp_path, pixels), (3, 8, 8))
    assert read[:, 0, 0].tolist() == [200, 100, 50]
    assert torch.equal(read[:, :, 2:6], torch.from_numpy(pixels).permute(2, 0, 1))
