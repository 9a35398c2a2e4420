"""Streams of the generator as they go to a battery of tests."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from nsm.studies import generator


@pytest.mark.parametrize("stream", generator.STREAMS)
def test_streams_never_repeat(stream: str) -> None:
    first, second = (np.frombuffer(piece, "<u4") for piece in itertools.islice(generator.pieces(stream), 2))
    assert first.shape == second.shape == (64 * 4096,)
    assert len(np.unique(first)) > 0.999 * len(first)
    assert (first != second).mean() > 0.999
    # 0.5 within five standard deviations, for the share of bits that are set.
    assert abs(np.unpackbits(first.view(np.uint8)).mean() - 0.5) < 5 * 0.5 / (32 * len(first)) ** 0.5


@pytest.mark.parametrize("library", ["nothing.so", __file__, "libm.so.6"])
def test_what_is_no_battery_is_one_line(library: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match=r"library must be a file of TestU01's shared library: .+"):
        generator.rows(("elements",), library)
    assert capfd.readouterr() == ("", "")


def test_stretches_of_a_stream_follow_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    examined, done = list[bytes](), list[tuple[int, int]]()

    def examine(numbers: Iterator[bytes], library: str) -> tuple[int, dict[str, float]]:
        assert library == "testu01.so"
        examined.append(next(numbers))
        return len(examined[-1]), {"Gap": 0.5, "Collision": 1e-4 if len(examined) == 2 else 0.25}

    monkeypatch.setattr(generator, "_examined", examine)
    streams = ("elements", "program")
    rows = generator.rows(streams, "testu01.so", stretches=2, progress=lambda *count: done.append(count))
    expected = [piece for stream in streams for piece in itertools.islice(generator.pieces(stream), 2)]
    assert examined == expected
    assert [row["bytes"] for row in rows] == [2**21, 2**21]
    assert [row["suspect"] for row in rows] == [["Collision, stretch 1"], []]
    assert [(row["statistics"], row["smallest"], row["largest"]) for row in rows] == [
        (4, 1e-4, 0.5),
        (4, 0.25, 0.5),
    ]
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_no_stretch_is_refused_before_anything_is_drawn() -> None:
    with pytest.raises(ValueError, match="stretches must be at least 1, got 0"):
        generator.rows(("elements",), "testu01.so", stretches=0)
