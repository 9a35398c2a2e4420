"""The real MNIST."""

import hashlib

import pytest

from nsm import data

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def folder(data_folder):
    if not data.is_present("mnist", data_folder):
        pytest.skip(f"{data_folder} does not hold MNIST/raw")
    return data_folder


def checksum(images):
    return hashlib.sha256(images.images.numpy().tobytes() + images.targets.numpy().tobytes()).hexdigest()


def test_it_is_the_published_one(folder):
    train, validation, test = data.load("mnist", folder, validation=0)
    assert (len(train), len(validation), len(test)) == (60_000, 0, 10_000)
    assert train.targets.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test.targets.bincount().tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    # The MD5 sums of the official files without compression.
    for part, start, expected in (
        (train, "0000080300 00ea60 0000001c 0000001c", "6bbc9ace898e44ae57da46a324031adb"),
        (test, "0000080300 002710 0000001c 0000001c", "2646ac647ad5339dbf082846283269ea"),
    ):
        content = bytes.fromhex(start) + part.images.numpy().tobytes()
        assert hashlib.md5(content).hexdigest() == expected
    assert train.targets[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert abs(float(train.images.double().mean()) / 255.0 - 0.1306604762738429) < 1e-12


def test_its_division_is_pinned(folder):
    train, validation, test = data.load("mnist", folder)
    assert (len(train), len(validation), len(test)) == (55_000, 5000, 10_000)
    assert checksum(train).startswith("400a37dc37465c18")
    assert checksum(validation).startswith("2f51e329c7a2fe00")
    assert checksum(test).startswith("a0863a96c44e5666")
    assert validation.targets.bincount(minlength=10).min() > 400
