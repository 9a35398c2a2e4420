import hashlib
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from nsm import data
from nsm.data import SETS, DataError, events
from nsm.data.sources import BatchSource, EventSource, SimulatedSource
from tests.data.idx_files import CLASSES, HEIGHT, TEST, TRAIN, WIDTH, idx, lay_out, small_files, small_set


def checksum(images):
    return hashlib.sha256(images.images.numpy().tobytes() + images.targets.numpy().tobytes()).hexdigest()


def rows(images):
    return [bytes(image) for image in images.images.flatten(1).numpy()]


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A function that makes a set known as "small"; its files belong into the folder it returns."""

    def known(**fields):
        monkeypatch.setattr("nsm.data.sets.SETS", {"small": small_set(**fields)})
        return tmp_path / "Small" / "raw"

    monkeypatch.delenv("NSM_DATA", raising=False)
    return known


def test_digits_need_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("NSM_DATA", str(tmp_path / "absent"))
    train, validation, test = data.load("digits")
    assert (len(train), len(validation), len(test)) == (1137, 300, 360)
    assert train.images.shape[1:] == (1, 8, 8)
    assert train.classes == tuple("0123456789")
    assert {part.name for part in (train, validation, test)} == {"digits"}
    assert data.is_present("digits")
    assert data.fetch("digits") == tmp_path / "absent"
    assert list(tmp_path.iterdir()) == []


def test_digits_are_scaled_to_bytes():
    bunch = load_digits()
    expected = {
        (bytes(round(v * 255 / 16) for v in image.ravel()), int(target))
        for image, target in zip(bunch.images, bunch.target, strict=True)
    }
    parts = data.load("digits")
    got = {pair for part in parts for pair in zip(rows(part), part.targets.tolist(), strict=True)}
    assert got == expected
    assert {int(v) for part in parts for v in part.images.unique()} == {
        round(v * 255 / 16) for v in range(17)
    }


def test_the_division_of_digits_is_pinned():
    train, validation, test = data.load("digits")
    assert checksum(train).startswith("a78c763b15ba8bbc")
    assert checksum(validation).startswith("a686229a54be8d29")
    assert checksum(test).startswith("53fb6c0ee9bb1d7a")


def test_no_seed_moves_the_division():
    first = data.load("digits")
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    for before, after in zip(first, data.load("digits"), strict=True):
        assert checksum(before) == checksum(after)


@pytest.mark.parametrize("validation", [None, 0, 1, 7, TRAIN])
def test_parts_are_disjoint_and_complete(small, tmp_path, validation):
    lay_out(small(), small_files())
    train, held_out, test = data.load("small", tmp_path, validation=validation)
    count = 5 if validation is None else validation
    assert (len(train), len(held_out), len(test)) == (TRAIN - count, count, TEST)
    assert len(set(rows(train) + rows(held_out))) == TRAIN
    whole = data.load("small", tmp_path, validation=0)
    assert sorted(rows(train) + rows(held_out)) == sorted(rows(whole.train))
    assert rows(test) == rows(whole.test)


def test_the_held_out_images_are_spread_and_nested(small, tmp_path):
    lay_out(small(), small_files())
    whole = rows(data.load("small", tmp_path, validation=0).train)
    few, many = (rows(data.load("small", tmp_path, validation=n).validation) for n in (5, 9))
    assert set(few) < set(many)
    places = [whole.index(row) for row in many]
    assert places == sorted(places)
    assert places != list(range(TRAIN - 9, TRAIN))
    assert places != list(range(9))


@pytest.mark.parametrize("validation", [-1, TRAIN + 1, 0.1, 5.0, True, 10**9])
def test_not_that_many_images(small, tmp_path, validation):
    lay_out(small(), small_files())
    with pytest.raises(
        ValueError, match=rf"validation must be a whole number in \[0, 20\] for small, got {validation}"
    ):
        data.load("small", tmp_path, validation=validation)


@pytest.mark.parametrize("use", [data.load, data.fetch, data.is_present])
def test_an_unknown_set(use):
    valid = ", ".join(SETS)
    with pytest.raises(ValueError, match=f"data set must be one of {valid}, got 'cifar'$"):
        use("cifar")
    with pytest.raises(ValueError, match=r"data set must be one of .*, got \['mnist'\]$"):
        use(["mnist"])


def test_values_and_labels_in_the_order_of_the_file(small, tmp_path):
    files = small_files()
    lay_out(small(), files)
    train, _, test = data.load("small", tmp_path, validation=0)
    for part, prefix in ((train, "train"), (test, "t10k")):
        assert part.images.shape == (len(part), 1, HEIGHT, WIDTH)
        assert part.images.numpy().tobytes() == files[f"{prefix}-images-idx3-ubyte"][16:]
        assert part.targets.tolist() == list(files[f"{prefix}-labels-idx1-ubyte"][8:])
        assert part.classes == CLASSES


def test_compressed_and_plain_files_are_the_same(small, tmp_path):
    folder = small()
    lay_out(folder, small_files(), compressed=True)
    compressed = data.load("small", tmp_path)
    lay_out(folder, small_files())
    for path in folder.glob("*.gz"):
        path.write_bytes(b"not even looked at where the plain file is")
    for one, other in zip(compressed, data.load("small", tmp_path), strict=True):
        assert checksum(one) == checksum(other)


def test_the_folder_is_the_argument_else_the_variable_else_a_cache(small, monkeypatch, tmp_path):
    lay_out(small(), small_files())
    assert data.is_present("small", tmp_path)
    assert data.data_root(str(tmp_path)) == tmp_path
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data.data_root().name == "nsm"
    assert not data.is_present("small")
    monkeypatch.setenv("NSM_DATA", str(tmp_path))
    assert data.data_root() == tmp_path
    assert data.is_present("small")
    assert len(data.load("small").test) == TEST
    assert data.data_root("other").name == "other"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NSM_DATA", "~/data")
    assert data.data_root() == tmp_path / "data"


@pytest.mark.parametrize(
    "use",
    [
        data.data_root,
        lambda root: data.is_present("mnist", root),
        lambda root: data.load("mnist", root),
        lambda root: events.nmnist("train", root),
    ],
)
def test_a_folder_that_cannot_be_named(use, monkeypatch):
    with pytest.raises(ValueError, match=r"root must begin with the home of a known user .*'~nobody-here/x'"):
        use("~nobody-here/x")
    with pytest.raises(ValueError, match="root must be a path, got 3"):
        use(3)
    monkeypatch.setenv("NSM_DATA", "~nobody-here/y")
    with pytest.raises(ValueError, match=r"NSM_DATA must begin with the home .*'~nobody-here/y'"):
        use(None)


def test_a_set_is_present_when_all_its_files_are(small, tmp_path):
    folder = small()
    assert not data.is_present("small", tmp_path)
    lay_out(folder, small_files())
    assert data.is_present("small", tmp_path)
    (folder / "t10k-labels-idx1-ubyte").unlink()
    assert not data.is_present("small", tmp_path)
    (folder / "t10k-labels-idx1-ubyte.gz").mkdir()
    assert not data.is_present("small", tmp_path)


def test_files_that_store_columns_and_count_from_one(small, tmp_path):
    files = small_files(first_label=1)
    square = np.arange(TRAIN * 12, dtype=np.uint8).reshape(TRAIN, HEIGHT, WIDTH)
    files["train-images-idx3-ubyte"] = idx(square)
    lay_out(small(first_label=1, transposed=True), files)
    train = data.load("small", tmp_path, validation=0).train
    assert np.array_equal(train.images[:, 0].numpy(), square.transpose(0, 2, 1))
    assert train.images.is_contiguous()
    assert train.targets.tolist() == [n % 3 for n in range(TRAIN)]


@pytest.mark.parametrize(
    ("first", "label", "valid"),
    [(0, 3, r"\[0, 2\]"), (0, 255, r"\[0, 2\]"), (1, 0, r"\[1, 3\]"), (1, 4, r"\[1, 3\]")],
)
def test_a_label_of_no_class(small, tmp_path, first, label, valid):
    folder = small(first_label=first)
    lay_out(folder, small_files(first_label=first))
    path = folder / "t10k-labels-idx1-ubyte"
    content = bytearray(path.read_bytes())
    content[8 + 7] = label
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=f"{path}: label {label} at position 7 is not in {valid}; remove the file"
    ):
        data.load("small", tmp_path)


def test_images_and_labels_of_different_number(small, tmp_path):
    folder = small()
    lay_out(folder, small_files())
    path = folder / "train-labels-idx1-ubyte"
    path.write_bytes(idx(np.zeros(TRAIN - 1)))
    with pytest.raises(
        DataError, match=f"{path}: holds 19 values by its header, must hold 20; remove the file"
    ):
        data.load("small", tmp_path)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ("t10k-images-idx3-ubyte", "holds 10 x 4 x 3 values by its header, must hold 20 x 4 x 3"),
        ("train-labels-idx1-ubyte", "starts with bytes 00 00 08 01, but"),
    ],
)
def test_a_file_under_the_name_of_another(small, tmp_path, other, reason):
    folder = small()
    files = small_files()
    lay_out(folder, files | {"train-images-idx3-ubyte": files[other]})
    with pytest.raises(DataError, match=f"{folder / 'train-images-idx3-ubyte'}: {reason}"):
        data.load("small", tmp_path)


CLASS_COUNTS = {"emnist-letters": 26, "cifar100": 100, "dvsgesture": 11, "dvsgesture-precut": 11}


@pytest.mark.parametrize("name", SETS)
def test_what_is_known_of_a_set_agrees_with_itself(name):
    info = SETS[name]
    assert 0 < info.validation < info.train
    classes = CLASS_COUNTS.get(name.removesuffix("-simulated"), 10)
    assert len(set(info.classes)) == len(info.classes) == classes
    if info.source is None:
        return
    assert all(urlsplit(mirror).scheme in ("http", "https") for mirror in info.source.mirrors)
    if isinstance(info.source, EventSource):
        return
    held = [file for download in info.source.downloads for file in download.holds]
    assert held == list(info.source.names)
    assert len({mirror.split("/")[2] for mirror in info.source.mirrors}) >= 2
    assert all(len(bytes.fromhex(download.sha256)) == 32 for download in info.source.downloads)
    if isinstance(info.source, BatchSource):
        assert info.train % len(info.source.train) == info.test % len(info.source.test) == 0
        return
    image = (28, 28) if isinstance(info.source, SimulatedSource) else info.image[1:]
    assert info.source.train.images.shape == (info.train, *image)
    assert info.source.test.images.shape == (info.test, *image)
    assert [pair.labels.shape for pair in (info.source.train, info.source.test)] == [
        (info.train,),
        (info.test,),
    ]


def test_the_layout_of_torchvision():
    layout = {name: info.source.folder for name, info in SETS.items() if info.source}
    assert layout == {
        "mnist": "MNIST/raw",
        "fashion-mnist": "FashionMNIST/raw",
        "emnist-letters": "EMNIST/raw",
        "cifar10": "cifar-10-batches-bin",
        "cifar100": "cifar-100-binary",
        "nmnist": "NMNIST",
        "nmnist-simulated": "MNIST/raw",
        "dvsgesture": "DvsGesture",
        "dvsgesture-simulated": "DvsGestureSimulated",
        "dvsgesture-precut": "DVSGesture",
    }
    letters = [file.name for file in SETS["emnist-letters"].source.files]
    assert letters == [
        "emnist-letters-train-images-idx3-ubyte",
        "emnist-letters-train-labels-idx1-ubyte",
        "emnist-letters-test-images-idx3-ubyte",
        "emnist-letters-test-labels-idx1-ubyte",
    ]
    assert SETS["emnist-letters"].validation * 10 == SETS["emnist-letters"].train
