"""CIFAR's binary batches in small."""

import gzip
import hashlib
import io
import tarfile

import numpy as np

from nsm.data.sets import SetInfo
from nsm.data.sources import BatchSource, Download

IMAGE, PER_FILE = (3, 4, 5), 6
FOLDER = "small-bin"
TRAIN, TEST = ("data_batch_1.bin", "data_batch_2.bin"), ("test_batch.bin",)
CLASSES = ("a", "b", "c")


def small_files(labels=1):
    """Content by name; every pixel of a file differs from its neighbours."""
    files = {}
    for number, name in enumerate((*TRAIN, *TEST)):
        pixels = (np.arange(PER_FILE * 60).reshape(PER_FILE, 60) + 7 * number) % 256
        classes = (np.arange(PER_FILE) + number) % len(CLASSES)
        heads = [classes + 50 * (labels - 1 - i) for i in range(labels)]
        files[name] = np.column_stack((*heads, pixels)).astype(np.uint8).tobytes()
    return files


def small_set(labels=1, downloads=(), mirrors=()):
    source = BatchSource(
        folder=FOLDER,
        train=TRAIN,
        test=TEST,
        labels=labels,
        downloads=tuple(downloads),
        mirrors=tuple(mirrors),
    )
    return SetInfo(
        title="Small",
        classes=CLASSES,
        train=PER_FILE * len(TRAIN),
        test=PER_FILE * len(TEST),
        image=IMAGE,
        validation=3,
        source=source,
    )


def archive(files, folder="another-name"):
    """What to fetch, and the bytes to serve."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as packed:
        for name, data in {"readme.html": b"not asked for", **files}.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))
    data = gzip.compress(buffer.getvalue(), mtime=0)
    wanted = Download("small.tar.gz", len(data), hashlib.sha256(data).hexdigest(), tuple(files))
    return wanted, {"small.tar.gz": data}
