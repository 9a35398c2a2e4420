import gzip
import math
import os
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nsm.data import DataError
from nsm.data.idx import read_idx
from tests.data.idx_files import header, idx, packed

SHAPE = (5, 4, 3)
VALUES = np.arange(60, dtype=np.uint8).reshape(SHAPE) * 4
WHOLE = idx(VALUES)
NAMES = ("images-idx3-ubyte", "images-idx3-ubyte.gz")


def written(folder, name, content):
    """A file of these contents, compressed if its name says so."""
    path = folder / name
    path.write_bytes(packed(content) if name.endswith(".gz") else content)
    return path


def refused(path, reason, shape=SHAPE):
    with pytest.raises(DataError, match=reason) as caught:
        read_idx(path, shape)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(60,), SHAPE, (2, 5, 3, 2)])
def test_values_come_back(tmp_path, name, shape):
    read = read_idx(written(tmp_path, name, idx(VALUES.reshape(shape))), shape)
    assert read.dtype == np.uint8
    assert read.flags.writeable
    assert np.array_equal(read, VALUES.reshape(shape))


def test_the_bytes_of_the_format():
    assert WHOLE[:16] == bytes([0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 4, 0, 0, 0, 3])


@pytest.mark.parametrize("name", NAMES)
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    refused(tmp_path / name, r"cannot be read \(no regular file\)")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", range(16))
def test_a_header_cut_off(tmp_path, name, length):
    refused(written(tmp_path, name, WHOLE[:length]), f"ends after {length} bytes, within its header")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("values", [0, 1, 30, 59])
def test_a_body_cut_off(tmp_path, name, values):
    refused(written(tmp_path, name, WHOLE[: 16 + values]), f"ends after {values} of 60 values")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("surplus", [b"\0", b"x", WHOLE, bytes(5000)])
def test_more_than_announced(tmp_path, name, surplus):
    path = written(tmp_path, name, WHOLE + surplus)
    refused(path, r"goes on after its 60 values|has 50\d\d bytes, too many for 5 x 4 x 3 values")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "start",
    [
        b"\1\0\x08\x03",
        b"\0\1\x08\x03",
        b"\0\0\x09\x03",
        b"\0\0\x0d\x03",
        b"\0\0\x08\x01",
        b"\0\0\x08\xff",
        b"<htm",
    ],
)
def test_another_magic_number(tmp_path, name, start):
    expected = f"starts with bytes {start.hex(' ')}, .* in 3 dimensions starts with 00 00 08 03"
    refused(written(tmp_path, name, start + WHOLE[4:]), expected)
    refused(written(tmp_path, name, start), expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("count", [0, 1, 6, 2**31, 2**32 - 1])
def test_another_shape(tmp_path, name, place, count):
    shape = (*SHAPE[:place], count, *SHAPE[place + 1 :])
    announced = " x ".join(map(str, shape))
    refused(
        written(tmp_path, name, header(*shape) + WHOLE[16:]),
        f"holds {announced} values by its header, must hold 5 x 4 x 3",
    )


@pytest.mark.parametrize("shape", [(3, 4, 5), (60, 1, 1), (1, 5, 12)])
def test_as_many_values_in_another_shape(tmp_path, shape):
    refused(
        written(tmp_path, NAMES[0], idx(VALUES.reshape(shape))), "values by its header, must hold 5 x 4 x 3"
    )


def test_every_cut_of_a_compressed_file(tmp_path):
    path = tmp_path / NAMES[1]
    data = packed(WHOLE)
    for length in range(1, len(data)):
        path.write_bytes(data[:length])
        refused(path, "damaged, or no gzip file|ends after")


def test_every_damaged_byte_of_a_compressed_file_is_seen_or_harmless(tmp_path):
    path = tmp_path / NAMES[1]
    data = packed(WHOLE)
    seen = 0
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x15]) + data[place + 1 :])
        try:
            assert np.array_equal(read_idx(path, SHAPE), VALUES)
        except DataError:
            seen += 1
    # The format has six bytes that mean nothing to a reader: time, origin and effort.
    assert seen >= len(data) - 6


def test_the_checksum_of_a_compressed_file(tmp_path):
    path = tmp_path / NAMES[1]
    data = packed(WHOLE)
    path.write_bytes(data[:-8] + bytes(4) + data[-4:])
    refused(path, "damaged, or no gzip file .*CRC")


@pytest.mark.parametrize("garbage", [b"x", packed(b"x"), packed(WHOLE), b"PK\3\4" * 9])
def test_garbage_after_a_compressed_file(tmp_path, garbage):
    path = tmp_path / NAMES[1]
    path.write_bytes(packed(WHOLE) + garbage)
    refused(path, "goes on after its 60 values|damaged, or no gzip file")


def test_a_name_that_belies_the_content(tmp_path):
    plain, compressed = (tmp_path / name for name in NAMES)
    plain.write_bytes(packed(WHOLE))
    refused(plain, "starts with bytes 1f 8b 08 00")
    compressed.write_bytes(WHOLE)
    refused(compressed, "damaged, or no gzip file .*Not a gzipped file")


def test_what_cannot_be_opened(tmp_path):
    refused(tmp_path / "absent", "cannot be read .No such file")
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "cannot be read .Is a directory")


@pytest.mark.parametrize("name", NAMES)
def test_a_huge_file_is_not_read(tmp_path, name):
    path = tmp_path / name
    path.touch()
    os.truncate(path, 2**40)
    started = time.perf_counter()
    refused(path, f"has {2**40} bytes, too many for 5 x 4 x 3 values")
    assert time.perf_counter() - started < 1.0


def test_a_compressed_bomb_is_not_unpacked(tmp_path):
    shape = (400, 28, 28)
    deflate = zlib.compressobj(9, wbits=31)
    bomb = deflate.compress(header(*shape))
    bomb += b"".join(deflate.compress(bytes(2**20)) for _ in range(64)) + deflate.flush()
    assert len(bomb) < math.prod(shape)
    path = tmp_path / NAMES[1]
    path.write_bytes(bomb)
    tracemalloc.start()
    try:
        refused(path, "goes on after its 313600 values", shape)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=100) | st.binary(max_size=70).map(lambda body: WHOLE[:16] + body),
    name=st.sampled_from(NAMES),
    whole=st.booleans(),
)
def test_any_bytes_give_values_or_an_error(tmp_path, content, name, whole):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if whole and name.endswith(".gz") else content)
    problem = ""
    try:
        read = read_idx(path, SHAPE)
    except DataError as error:
        problem = str(error)
    assert problem.startswith(f"{path}: ") if problem else idx(read) == content
