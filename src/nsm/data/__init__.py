"""Images to learn from: read with care, fetched when missing, divided the same way at every call."""

from nsm.data.errors import DataError
from nsm.data.fetch import fetch
from nsm.data.folder import data_root, is_present
from nsm.data.images import ImageSet, Splits
from nsm.data.load import event_images, load
from nsm.data.picture import read_drawing, read_picture
from nsm.data.sets import SETS, SetInfo, describe

__all__ = [
    "SETS",
    "DataError",
    "ImageSet",
    "SetInfo",
    "Splits",
    "data_root",
    "describe",
    "event_images",
    "fetch",
    "is_present",
    "load",
    "read_drawing",
    "read_picture",
]
