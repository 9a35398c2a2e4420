"""Recordings of event cameras: formats read with care, official splits, frames and other representations."""

from nsm.data.events.aedat import read_aedat, write_aedat
from nsm.data.events.array import EVENT, Events, SensorSize, make
from nsm.data.events.augment import EventAugmentation
from nsm.data.events.labels import Label, read_labels, write_labels
from nsm.data.events.nmnist import read_nmnist, write_nmnist
from nsm.data.events.playing import play
from nsm.data.events.precut import read_precut
from nsm.data.events.recordings import (
    SPLITS,
    Item,
    Recordings,
    Split,
    dvs_gesture,
    dvs_gesture_precut,
    nmnist,
)
from nsm.data.events.representations import CountFrames, Representation, TimeFrames, TimeSurface, VoxelGrid

__all__ = [
    "EVENT",
    "SPLITS",
    "CountFrames",
    "EventAugmentation",
    "Events",
    "Item",
    "Label",
    "Recordings",
    "Representation",
    "SensorSize",
    "Split",
    "TimeFrames",
    "TimeSurface",
    "VoxelGrid",
    "dvs_gesture",
    "dvs_gesture_precut",
    "make",
    "nmnist",
    "play",
    "read_aedat",
    "read_labels",
    "read_nmnist",
    "read_precut",
    "write_aedat",
    "write_labels",
    "write_nmnist",
]
