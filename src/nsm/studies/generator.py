"""The generator's numbers, in the orders in which the library draws them, under TestU01's SmallCrush.

TestU01 (L'Ecuyer and Simard, ACM TOMS 33(4), 2007) is not part of this package: its shared library is loaded
if it is installed (Debian: libtestu01-0). It reads the numbers from a pipe while another process draws them.
"""

from __future__ import annotations

import ctypes.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nsm import random
from nsm.files import write_atomically
from nsm.provenance import commit
from nsm.studies.smallcrush import examined
from nsm.studies.timing import counted

STUDY = "generator"
_ROWS = 4096  # of 64 elements, the numbers of one piece
_SUSPECT = 1e-3  # TestU01's own limit for a p-value worth a look


def _samples(piece: int) -> Tensor:
    """The first 64 elements of consecutive samples of one input."""
    samples = torch.arange(piece * _ROWS, (piece + 1) * _ROWS)
    return random.words(torch.tensor(0), random.row_indices(samples, torch.zeros_like(samples)), 64, 0)


def _inputs(piece: int) -> Tensor:
    """The first 64 elements of consecutive inputs of one sample."""
    index = torch.arange(piece * _ROWS, (piece + 1) * _ROWS)
    return random.words(torch.tensor(0), random.row_indices(0, index), 64, 0)


def _elements(piece: int) -> Tensor:
    """Consecutive elements of long rows."""
    return random.words(torch.tensor(0), torch.tensor([[piece, 0]]), 64 * _ROWS, 0)


def _layers(piece: int) -> Tensor:
    """A network of 16 layers: its samples of 4 inputs, layer by layer, 4096 neurons each."""
    index = torch.arange(4)
    drawn = [
        random.words(torch.tensor(0), random.row_indices(piece, index), 4096, random.place(layer))
        for layer in range(16)
    ]
    return torch.stack(drawn)


def _seeds(piece: int) -> Tensor:
    """The first 4096 elements of consecutive seeds."""
    row = torch.zeros(1, 2, dtype=torch.int64)
    return torch.stack([random.words(torch.tensor(64 * piece + k), row, 4096, 0) for k in range(64)])


def _planes(piece: int) -> Tensor:
    """The words of drawn synapses, put together from their bits."""
    return random.planes(torch.tensor(0), torch.tensor([[piece, 0]]), 64 * _ROWS, random.place())


def _program(piece: int) -> Tensor:
    """What a compiled network draws: two layers of 4096 neurons in consecutive samples of 64 inputs."""
    rows = random.row_indices(piece, torch.arange(64))
    places = (random.place(layer, purpose=random.Purpose.PROGRAM) for layer in range(2))
    halves = torch.stack([random.halves(torch.tensor(0), rows, 4096, place) for place in places])
    return halves[..., ::2] | halves[..., 1::2] << 16


STREAMS: dict[str, Callable[[int], Tensor]] = {
    "elements": _elements,
    "inputs": _inputs,
    "samples": _samples,
    "layers": _layers,
    "seeds": _seeds,
    "planes": _planes,
    "program": _program,
}


class Numbers(Iterator[bytes]):
    """The numbers of a stream without end, 32-bit little-endian words, piece by piece.

    Attributes:
        taken: pieces so far, those before the first one included.

    Raises:
        ValueError: if ``stream`` is none of :data:`STREAMS`.
    """

    def __init__(self, stream: str, first: int = 0) -> None:
        self._draw, self.taken = _known(stream), first

    def __next__(self) -> bytes:
        """The next piece."""
        piece = self._draw(self.taken).numpy().astype("<u4").tobytes()
        self.taken += 1
        return piece


class Battery(NamedTuple):
    """What a battery of tests found.

    Attributes:
        taken: pieces of the stream that it and those before it took.
        bytes: how much it read.
        p_values: by the name of the statistic.
    """

    taken: int
    bytes: int
    p_values: dict[str, float]


def _known(stream: str) -> Callable[[int], Tensor]:
    if stream not in STREAMS:
        raise ValueError(f"stream must be one of {', '.join(STREAMS)}, got {stream!r}")
    return STREAMS[stream]


def rows(
    streams: tuple[str, ...] = tuple(STREAMS),
    library: str | None = None,
    *,
    stretches: int = 1,
    kept: Path | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[dict[str, Any]]:
    """One row for each stream: the statistics' p-values, and how many of them are suspect.

    Args:
        streams: of :data:`STREAMS`.
        library: file of TestU01's shared library; by default the installed one.
        stretches: batteries that a stream goes through, each reading on behind the last, >= 1.
        kept: folder in which batteries are kept as soon as they are done, one file for each stream; those
            that the same commit, without changes, has put there are not run again. None for none.
        progress: called with the number of batteries done and of all.

    Raises:
        ValueError: if a stream is unknown, there are no stretches, TestU01 cannot be loaded, or a kept file
            cannot be read.
        OSError: if a kept file cannot be written.
    """
    for stream in streams:
        _known(stream)
    if stretches < 1:
        raise ValueError(f"stretches must be at least 1, got {stretches}")
    found = library or ctypes.util.find_library("testu01")
    if found is None:
        raise ValueError("TestU01 is not installed (Debian: libtestu01-0), and library names no file of it")
    files = [None if kept is None else kept / f"{stream}.json" for stream in streams]
    known = [[] if file is None else _read(file) for file in files]
    after_battery = counted(progress, len(streams) * stretches)
    return [
        _row(stream, _batteries(stream, found, stretches, batteries, file, after_battery))
        for stream, batteries, file in zip(streams, known, files, strict=True)
    ]


def _batteries(
    stream: str,
    library: str,
    stretches: int,
    known: list[Battery],
    file: Path | None,
    after_battery: Callable[[], object],
) -> list[Battery]:
    """The first batteries of a stream, those that are not known run now."""
    done = known[:stretches]
    for _ in done:
        after_battery()
    numbers = Numbers(stream, done[-1].taken if done else 0)
    while len(done) < stretches:
        read, p_values = examined(numbers, library)
        done.append(Battery(numbers.taken, read, p_values))
        if file is not None:
            _write(file, done)
        after_battery()
    return done


def _write(file: Path, batteries: list[Battery]) -> None:
    content = {"commit": commit(), "batteries": [battery._asdict() for battery in batteries]}
    write_atomically(file, (json.dumps(content, indent=1) + "\n").encode())


def _read(file: Path) -> list[Battery]:
    """Batteries that this source has kept; none without a file, or where it may be of another source."""
    try:
        content = json.loads(file.read_text())
        source = commit()
        # Of sources that no commit names, any two may differ.
        if not source or source.endswith("+") or content["commit"] != source:
            return []
        return [
            Battery(
                int(battery["taken"]),
                int(battery["bytes"]),
                {str(name): float(p) for name, p in battery["p_values"].items()},
            )
            for battery in content["batteries"]
        ]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file}: holds no batteries of tests ({error}); remove it to begin anew") from error


def _row(stream: str, batteries: list[Battery]) -> dict[str, Any]:
    each = [
        (f"{name}, stretch {number}", p)
        for number, battery in enumerate(batteries)
        for name, p in battery.p_values.items()
    ]
    return {
        "stream": stream,
        "battery": "TestU01 SmallCrush",
        "stretches": len(batteries),
        "bytes": sum(battery.bytes for battery in batteries),
        "statistics": len(each),
        "suspect": [name for name, p in each if not _SUSPECT <= p <= 1.0 - _SUSPECT],
        "smallest": min(p for _, p in each),
        "largest": max(p for _, p in each),
        "p_values": [battery.p_values for battery in batteries],
    }
