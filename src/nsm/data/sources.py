"""What the files of a data set are called, how large they are, and where they come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple


class IdxFile(NamedTuple):
    """One IDX file of unsigned bytes.

    Attributes:
        name: file name without ``.gz``; both forms are read.
        shape: its dimensions, number of items first.
    """

    name: str
    shape: tuple[int, ...]


class IdxPair(NamedTuple):
    """Images and labels that belong together."""

    images: IdxFile
    labels: IdxFile


class Download(NamedTuple):
    """One file to be fetched.

    Attributes:
        name: file name in the set's folder.
        size: bytes.
        sha256: checksum, in hexadecimal digits.
        holds: names (without ``.gz``) of the files that it is, or that are in it.
    """

    name: str
    size: int
    sha256: str
    holds: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Source(ABC):
    """Where the files of a data set lie, and where they come from.

    Attributes:
        folder: where they lie, relative to the data folder, as torchvision lays them out.
        downloads: what to fetch.
        mirrors: addresses of equal standing; ``{file}`` stands for the name of the download.
    """

    folder: str
    downloads: tuple[Download, ...]
    mirrors: tuple[str, ...]

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Names of all files without ``.gz``, those of the training images first."""


@dataclass(frozen=True, kw_only=True)
class IdxSource(Source):
    """The files of a data set that is kept in IDX files.

    Attributes:
        train: the training images, before validation images are held out.
        test: the test images.
        first_label: the label in the files that becomes target 0.
        transposed: whether the files store each image by columns.
    """

    train: IdxPair
    test: IdxPair
    first_label: int = 0
    transposed: bool = False

    @property
    def files(self) -> tuple[IdxFile, ...]:
        """All files, training images first."""
        return (*self.train, *self.test)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all files without ``.gz``, those of the training images first."""
        return tuple(file.name for file in self.files)


@dataclass(frozen=True, kw_only=True)
class SimulatedSource(IdxSource):
    """Images in IDX files from which event recordings are simulated when the set is read."""


@dataclass(frozen=True, kw_only=True)
class BatchSource(Source):
    """The files of a data set that is kept in CIFAR's binary batches.

    Attributes:
        train: names of the files of training images, before validation images are held out.
        test: names of the files of test images.
        labels: bytes before each image; the last of them is its class.
    """

    train: tuple[str, ...]
    test: tuple[str, ...]
    labels: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all files without ``.gz``, those of the training images first."""
        return (*self.train, *self.test)


@dataclass(frozen=True, kw_only=True)
class EventSource(Source):
    """The files of a data set of event recordings, which have to be fetched by hand.

    Attributes:
        layout: how they lie in the folder, see :mod:`nsm.data.events.recordings`.
        marks: files or folders that are there where the set is.
    """

    layout: Literal["nmnist", "dvsgesture", "dvsgesture-precut"]
    marks: tuple[str, ...]
    downloads: tuple[Download, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Files or folders that are there where the set is."""
        return self.marks


@dataclass(frozen=True, kw_only=True)
class SimulatedEventSource(EventSource):
    """Event recordings that are simulated into the folder when they are missing."""

    mirrors: tuple[str, ...] = ()
