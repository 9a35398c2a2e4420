"""Events per second of readers and representations, beside tonic's on the same files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nsm.data import events as ev
from nsm.data.events import Events
from nsm.data.events.aedat import DVS128
from nsm.data.events.nmnist import SENSOR_SIZE
from nsm.studies.timing import in_turn, row

STUDY = "events"
_BINS = 10


def rows(
    *, repeats: int = 7, root: Path | None = None, aedat_events: int = 2_000_000
) -> list[dict[str, Any]]:
    """One row for each reader and representation, in millions of events per second.

    N-MNIST recordings are those of the data folder's training set, all of them in turn; the AEDAT 3.1 file
    holds random events. Representations get the N-MNIST recordings.

    Args:
        repeats: measurements of each side, >= 1.
        root: data folder, see :func:`nsm.data.load`.
        aedat_events: number of random events, >= 1.

    Raises:
        ModuleNotFoundError: if tonic is not installed.
        DataError: if there is no N-MNIST in the data folder.
    """
    tonic_io, transforms = _tonic()
    recordings = ev.nmnist("train", root)
    paths = [item.path for item in recordings.items]
    read = [events for events, _ in recordings]
    count = sum(map(len, read))
    found = []

    def compare(
        name: str, ours: Callable[[], object], theirs: Callable[[], object], events: int, rival: str
    ) -> None:
        rates = [events / seconds / 1e6 for seconds in in_turn((ours, theirs), repeats)]
        found.append(row(name, rival, rates, unit="M events/s", events=events, repeats=repeats))

    def read_each(reader: Callable[[Path], object]) -> Callable[[], object]:
        return lambda: [reader(path) for path in paths]

    compare(
        "read N-MNIST",
        read_each(ev.read_nmnist),
        read_each(lambda path: tonic_io.read_mnist_file(path, ev.EVENT)),
        count,
        "tonic.io.read_mnist_file",
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "random.aedat"
        ev.write_aedat(path, _random_events(aedat_events))
        compare(
            "read AEDAT 3.1",
            lambda: ev.read_aedat(path),
            lambda: _tonic_aedat(tonic_io, str(path)),
            aedat_events,
            "tonic.io.get_aer_events_from_file",
        )
    for ours, theirs in _pairs(transforms):

        def each(transform: Callable[[Events], object]) -> Callable[[], object]:
            return lambda: [transform(events) for events in read]

        name, rival = (f"{type(side).__name__}" for side in (ours, theirs))
        compare(name, each(ours), each(theirs), count, f"tonic.transforms.{rival}")
    return found


def _tonic_aedat(tonic_io: Any, path: str) -> Any:
    """What tonic's ``read_dvs_ibm`` means to do; in 1.7.0 it stops at a third value of the header."""
    version, start, *_ = tonic_io.read_aedat_header_from_file(path)
    events = tonic_io.get_aer_events_from_file(path, version, start)
    address = events["address"]
    columns = ((address >> 17) & 0x1FFF, (address >> 2) & 0x1FFF, events["timeStamp"], (address >> 1) & 1)
    return tonic_io.make_structured_array(*columns)


def _pairs(transforms: Any) -> list[tuple[ev.Representation, Callable[[Events], object]]]:
    """Ours and tonic's that come closest: ten frames of a recording, or as many of 400 events."""
    sensor, tau = SENSOR_SIZE, 30_000.0
    return [
        (
            ev.TimeFrames(sensor_size=sensor, bins=_BINS),
            transforms.ToFrame(sensor_size=sensor, n_time_bins=_BINS),
        ),
        (
            ev.CountFrames(sensor_size=sensor, events=400),
            transforms.ToFrame(sensor_size=sensor, event_count=400),
        ),
        (
            ev.VoxelGrid(sensor_size=sensor, bins=_BINS, polarity="merged"),
            transforms.ToVoxelGrid(sensor_size=sensor, n_time_bins=_BINS),
        ),
        (
            ev.TimeSurface(sensor_size=sensor, bins=_BINS, tau=tau),
            transforms.ToTimesurface(sensor_size=sensor, dt=31_000.0, tau=tau),
        ),
    ]


def _tonic() -> tuple[Any, Any]:
    try:
        import tonic.io
        import tonic.transforms
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'tonic is what this is measured beside: pip install "neural-sampling-machines[events]"'
        ) from error
    return tonic.io, tonic.transforms


def _random_events(n: int) -> Events:
    generator = np.random.Generator(np.random.Philox(key=0))
    width, height, _ = DVS128
    t = np.sort(generator.integers(0, 100_000_000, n))
    return ev.make(
        generator.integers(0, width, n), generator.integers(0, height, n), t, generator.integers(0, 2, n)
    )
