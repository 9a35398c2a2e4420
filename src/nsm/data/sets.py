"""What is known of each data set before it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from nsm.data.classes import CIFAR10, CIFAR100, CLOTHES, DIGITS, GESTURES, LETTERS
from nsm.data.sources import (
    BatchSource,
    Download,
    EventSource,
    IdxFile,
    IdxPair,
    IdxSource,
    SimulatedEventSource,
    SimulatedSource,
    Source,
)


@dataclass(frozen=True, kw_only=True)
class SetInfo:
    """A data set.

    Attributes:
        title: its name in text.
        classes: what the classes are called, in order of their numbers.
        train: number of training images, those for validation among them; a folder of event recordings may
            hold fewer, and is a subset.
        test: number of test images, likewise.
        image: shape (C, H, W) of one image; the channels of a recording's image are bins of time.
        validation: how many training images are held out for validation unless another number is asked for.
        source: its files; None if it comes with an installed package and needs none.
        recorded: whether its images are made of recordings of events, simulated or not.
    """

    title: str
    classes: tuple[str, ...]
    train: int
    test: int
    image: tuple[int, int, int]
    validation: int
    source: Source | None
    recorded: bool = False


_Files = tuple[tuple[int, str], ...]  # size and SHA-256


def _pair(prefix: str, count: int) -> IdxPair:
    return IdxPair(
        IdxFile(f"{prefix}-images-idx3-ubyte", (count, 28, 28)),
        IdxFile(f"{prefix}-labels-idx1-ubyte", (count,)),
    )


def _mnist_like(
    title: str, classes: tuple[str, ...], folder: str, files: _Files, mirrors: tuple[str, ...]
) -> SetInfo:
    train, test = _pair("train", 60_000), _pair("t10k", 10_000)
    downloads = tuple(
        Download(f"{file.name}.gz", size, sha256, holds=(file.name,))
        for file, (size, sha256) in zip((*train, *test), files, strict=True)
    )
    return SetInfo(
        title=title,
        classes=classes,
        train=60_000,
        test=10_000,
        image=(1, 28, 28),
        validation=5000,
        source=IdxSource(folder=folder, train=train, test=test, downloads=downloads, mirrors=mirrors),
    )


_CIFAR_MIRRORS = (
    "https://www.cs.toronto.edu/~kriz/{file}",
    "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR{classes}/{file}",
)


def _cifar(
    classes: tuple[str, ...],
    folder: str,
    size: int,
    sha256: str,
    train: tuple[str, ...],
    test: tuple[str, ...],
    labels: int,
) -> SetInfo:
    number = len(classes)
    archive = Download(f"cifar-{number}-binary.tar.gz", size, sha256, holds=(*train, *test))
    return SetInfo(
        title=f"CIFAR-{number}",
        classes=classes,
        train=50_000,
        test=10_000,
        image=(3, 32, 32),
        validation=5000,
        source=BatchSource(
            folder=folder,
            train=train,
            test=test,
            labels=labels,
            downloads=(archive,),
            mirrors=tuple(mirror.replace("{classes}", str(number)) for mirror in _CIFAR_MIRRORS),
        ),
    )


def _simulated(title: str, seen: SetInfo) -> SetInfo:
    """Simulated recordings of the images of another set."""
    assert isinstance(seen.source, IdxSource)
    source = SimulatedSource(**vars(seen.source))
    return replace(seen, title=title, image=(10, 34, 34), source=source, recorded=True)


def _gestures(
    title: str, source: EventSource, train: int = 98 * 12 * 18, test: int = 24 * 12 * 18
) -> SetInfo:
    """Windows of 96 ms: 18 of each gesture, of which a recording of the release has 12."""
    return SetInfo(
        title=title,
        classes=GESTURES,
        train=train,
        test=test,
        image=(6, 64, 64),
        validation=2000,
        source=source,
        recorded=True,
    )


_DIGITS = SetInfo(
    title="Digits (scikit-learn)",
    classes=DIGITS,
    train=1437,
    test=360,
    image=(1, 8, 8),
    validation=300,
    source=None,
)

_LETTERS = _pair("emnist-letters-train", 124_800), _pair("emnist-letters-test", 20_800)

_MNIST = _mnist_like(
    "MNIST",
    DIGITS,
    "MNIST/raw",
    (
        (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
    (
        "https://ossci-datasets.s3.amazonaws.com/mnist/{file}",
        "https://storage.googleapis.com/cvdf-datasets/mnist/{file}",
    ),
)

SETS: Mapping[str, SetInfo] = MappingProxyType(
    {
        "digits": _DIGITS,
        "digits-simulated": replace(
            _DIGITS, title="Digits (scikit-learn), simulated recordings", image=(10, 34, 34), recorded=True
        ),
        "mnist": _MNIST,
        "fashion-mnist": _mnist_like(
            "Fashion-MNIST",
            CLOTHES,
            "FashionMNIST/raw",
            (
                (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
                (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
                (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
                (5148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
            ),
            (
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/{file}",
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{file}",
            ),
        ),
        "emnist-letters": SetInfo(
            title="EMNIST Letters",
            classes=LETTERS,
            train=124_800,
            test=20_800,
            image=(1, 28, 28),
            validation=12_480,
            source=IdxSource(
                folder="EMNIST/raw",
                train=_LETTERS[0],
                test=_LETTERS[1],
                first_label=1,
                transposed=True,
                downloads=(
                    Download(
                        "gzip.zip",
                        561_753_746,
                        "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
                        holds=tuple(file.name for pair in _LETTERS for file in pair),
                    ),
                ),
                mirrors=(
                    "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
                    "https://rds.westernsydney.edu.au/Institutes/MARCS/BENS/EMNIST/emnist-gzip.zip",
                ),
            ),
        ),
        "cifar10": _cifar(
            CIFAR10,
            "cifar-10-batches-bin",
            170_052_171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
            ("test_batch.bin",),
            labels=1,
        ),
        "cifar100": _cifar(
            CIFAR100,
            "cifar-100-binary",
            168_513_733,
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            ("train.bin",),
            ("test.bin",),
            labels=2,
        ),
        "nmnist": SetInfo(
            title="N-MNIST",
            classes=DIGITS,
            train=60_000,
            test=10_000,
            image=(10, 34, 34),
            validation=5000,
            source=EventSource(
                folder="NMNIST",
                layout="nmnist",
                marks=("Train", "Test"),
                mirrors=("https://www.garrickorchard.com/datasets/n-mnist",),
            ),
            recorded=True,
        ),
        "nmnist-simulated": _simulated("N-MNIST (simulated)", _MNIST),
        "dvsgesture": _gestures(
            "DVS Gestures",
            EventSource(
                folder="DvsGesture",
                layout="dvsgesture",
                marks=("trials_to_train.txt", "trials_to_test.txt"),
                mirrors=("https://research.ibm.com/interactive/dvsgesture",),
            ),
        ),
        "dvsgesture-simulated": _gestures(
            "DVS Gestures (simulated)",
            SimulatedEventSource(
                folder="DvsGestureSimulated",
                layout="dvsgesture",
                marks=("trials_to_train.txt", "trials_to_test.txt"),
            ),
            train=92 * 11 * 18,
            test=24 * 11 * 18,
        ),
        "dvsgesture-precut": _gestures(
            "DVS Gestures (pre-cut)",
            EventSource(
                folder="DVSGesture",
                layout="dvsgesture-precut",
                marks=("ibmGestureTrain", "ibmGestureTest"),
                mirrors=(
                    "https://figshare.com/ndownloader/files/38022171 (train)",
                    "https://figshare.com/ndownloader/files/38020584 (test)",
                ),
            ),
        ),
    }
)


def describe(name: str) -> SetInfo:
    """The description of a data set.

    Raises:
        ValueError: if there is no set of this name.
    """
    if name not in tuple(SETS):  # of a list a mapping would say that it has no hash
        raise ValueError(f"data set must be one of {', '.join(SETS)}, got {name!r:.80}")
    return SETS[name]
