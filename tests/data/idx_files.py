"""IDX files and small data sets made of them."""

import gzip
import hashlib
import io
import math
import struct
import zipfile
from pathlib import Path

import numpy as np

from nsm.data.sets import SetInfo
from nsm.data.sources import Download, IdxFile, IdxPair, IdxSource

TRAIN, TEST, HEIGHT, WIDTH = 20, 10, 4, 3
CLASSES = ("a", "b", "c")


def header(*shape, kind=8):
    return struct.pack(f">HBB{len(shape)}I", 0, kind, len(shape), *shape)


def idx(values):
    values = np.asarray(values, dtype=np.uint8)
    return header(*values.shape) + values.tobytes()


def packed(data):
    return gzip.compress(data, mtime=0)


def pair(prefix, count):
    return IdxPair(
        IdxFile(f"{prefix}-images-idx3-ubyte", (count, HEIGHT, WIDTH)),
        IdxFile(f"{prefix}-labels-idx1-ubyte", (count,)),
    )


def small_files(*, first_label=0):
    """Content by name without .gz."""
    files = {}
    for number, part in enumerate((pair("train", TRAIN), pair("t10k", TEST))):
        pixels = np.arange(math.prod(part.images.shape)) + 100 * number
        files[part.images.name] = idx((pixels % 256).reshape(part.images.shape))
        files[part.labels.name] = idx(np.arange(part.labels.shape[0]) % len(CLASSES) + first_label)
    return files


def small_set(downloads=(), mirrors=(), **fields):
    source = IdxSource(
        folder="Small/raw",
        train=pair("train", TRAIN),
        test=pair("t10k", TEST),
        downloads=tuple(downloads),
        mirrors=tuple(mirrors),
        **fields,
    )
    return SetInfo(
        title="Small",
        classes=CLASSES,
        train=TRAIN,
        test=TEST,
        image=(1, HEIGHT, WIDTH),
        validation=5,
        source=source,
    )


def single_downloads(files):
    """What to fetch, and the bytes to serve, for files fetched one by one."""
    served = {f"{name}.gz": packed(data) for name, data in files.items()}
    downloads = [
        Download(name, len(data), hashlib.sha256(data).hexdigest(), (name.removesuffix(".gz"),))
        for name, data in served.items()
    ]
    return downloads, served


def archive_download(files):
    """What to fetch, and the bytes to serve, for files in one archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("gzip/another.gz", b"not asked for")
        for name, data in files.items():
            archive.writestr(f"gzip/{name}.gz", packed(data))
    data = buffer.getvalue()
    return [Download("gzip.zip", len(data), hashlib.sha256(data).hexdigest(), tuple(files))], {
        "gzip.zip": data
    }


def lay_out(folder: Path, files, *, compressed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        path = folder / (f"{name}.gz" if compressed else name)
        path.write_bytes(packed(data) if compressed else data)
