"""CIFAR's binary batches: values, hostile files, the archive."""

import gzip

import numpy as np
import pytest

from nsm import data
from nsm.data import DataError
from nsm.data.batches import read_batch
from tests.data import batch_files as small
from tests.data.mirror import running


@pytest.fixture
def known(monkeypatch):
    """A function that makes a set known as "small"."""

    def known(**fields):
        monkeypatch.setattr("nsm.data.sets.SETS", {"small": small.small_set(**fields)})

    return known


@pytest.fixture
def laid_out(tmp_path, known):
    known()
    folder = tmp_path / small.FOLDER
    folder.mkdir()
    for name, content in small.small_files().items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("labels", [1, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_records_become_labels_and_images(tmp_path, labels, packed):
    content = small.small_files(labels)[small.TRAIN[0]]
    path = tmp_path / ("batch.bin.gz" if packed else "batch.bin")
    path.write_bytes(gzip.compress(content) if packed else content)
    batch = read_batch(path, small.PER_FILE, small.IMAGE, labels=labels)
    records = np.frombuffer(content, np.uint8).reshape(small.PER_FILE, -1)
    assert batch.images.shape == (small.PER_FILE, *small.IMAGE)
    for record, image, head in zip(records, batch.images, batch.labels, strict=True):
        assert image.tobytes() == record[labels:].tobytes()
        assert head.tolist() == record[:labels].tolist()


def test_a_set_in_the_order_of_its_files(laid_out, tmp_path):
    train, validation, test = data.load("small", tmp_path, validation=0)
    assert (len(train), len(validation), len(test)) == (12, 0, 6)
    files = small.small_files()
    expected = b"".join(files[name] for name in small.TRAIN)
    records = np.frombuffer(expected, np.uint8).reshape(12, -1)
    assert np.array_equal(train.images.numpy().reshape(12, -1), records[:, 1:])
    assert train.targets.tolist() == records[:, 0].tolist()
    assert len(data.load("small", tmp_path).validation) == 3


def test_the_last_label_is_the_class(tmp_path, known):
    known(labels=2)
    folder = tmp_path / small.FOLDER
    folder.mkdir()
    for name, content in small.small_files(labels=2).items():
        (folder / name).write_bytes(content)
    assert data.load("small", tmp_path).test.targets.tolist() == [2, 0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[:-1], "ends after 365 of 366 bytes, 6 records of 61 bytes"),
        (lambda content: b"", "ends after 0 of 366 bytes"),
        (lambda content: content + b"x", "goes on after its 366 bytes"),
        (lambda content: content * 20, "has 7320 bytes, too many for 6 records of 61 bytes"),
        (lambda content: b"\x03" + content[1:], r"label 3 at position 0 is not in \[0, 2\]"),
    ],
)
def test_damaged_files_end_in_a_clear_error(laid_out, tmp_path, spoil, message):
    path = laid_out / small.TRAIN[1]
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=f"{path}: {message}.*; remove the file"):
        data.load("small", tmp_path)


def test_a_bomb_is_not_unpacked(laid_out, tmp_path):
    path = laid_out / small.TRAIN[1]
    path.unlink()
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(bytes(500_000)))
    with pytest.raises(DataError, match="goes on after its 366 bytes"):
        data.load("small", tmp_path)


def test_the_archive_is_fetched_and_unpacked(tmp_path, known, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    files = small.small_files()
    wanted, served = small.archive(files)
    with running() as mirror:
        known(downloads=[wanted], mirrors=[mirror.serve("one", served)])
        assert not data.is_present("small", tmp_path)
        folder = data.fetch("small", tmp_path)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
        assert data.load("small", tmp_path, validation=0).train.images.shape == (12, 3, 4, 5)
    assert mirror.asked == ["/one/small.tar.gz"]


@pytest.mark.data
def test_cifar10_as_it_lies_in_the_data_folder(data_folder):
    if not data.is_present("cifar10", data_folder):
        pytest.skip(f"{data_folder} does not hold cifar-10-batches-bin")
    train, validation, test = data.load("cifar10", data_folder)
    assert (len(train), len(validation), len(test)) == (45_000, 5000, 10_000)
    assert train.images.shape[1:] == (3, 32, 32)
    assert test.targets.bincount().tolist() == [1000] * 10
    assert (train.targets.bincount() + validation.targets.bincount()).tolist() == [5000] * 10
