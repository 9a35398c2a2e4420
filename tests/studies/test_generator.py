"""Streams of the generator as they go to a battery of tests."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nsm.studies import generator


@pytest.mark.parametrize("stream", generator.STREAMS)
def test_streams_never_repeat(stream: str) -> None:
    first, second = (np.frombuffer(piece, "<u4") for piece in itertools.islice(generator.Numbers(stream), 2))
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

    monkeypatch.setattr(generator, "examined", examine)
    streams = ("elements", "program")
    rows = generator.rows(streams, "testu01.so", stretches=2, progress=lambda *count: done.append(count))
    expected = [piece for stream in streams for piece in itertools.islice(generator.Numbers(stream), 2)]
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


def _interrupted(
    examined: list[int], after: int
) -> Callable[[Iterator[bytes], str], tuple[int, dict[str, float]]]:
    """A battery that takes three pieces, and is stopped by Ctrl-C at one of its turns."""

    def examine(numbers: Iterator[bytes], _library: str) -> tuple[int, dict[str, float]]:
        if len(examined) == after:
            raise KeyboardInterrupt
        assert isinstance(numbers, generator.Numbers)
        examined.append(numbers.taken)
        for _ in range(3):
            next(numbers)
        return 2**21, {"Gap": 0.5}

    return examine


def test_an_interrupted_study_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rows() -> list[dict[str, Any]]:
        return generator.rows(("elements", "program"), "testu01.so", stretches=2, kept=tmp_path)

    examined = list[int]()
    monkeypatch.setattr(generator, "commit", lambda: "0123456789ab")
    monkeypatch.setattr(generator, "examined", _interrupted(examined, 3))
    with pytest.raises(KeyboardInterrupt):
        rows()
    assert examined == [0, 3, 0]
    monkeypatch.setattr(generator, "examined", _interrupted(examined, 4))
    found = rows()
    assert examined == [0, 3, 0, 3]
    assert [row["bytes"] for row in found] == [2**22, 2**22]
    assert rows() == found
    assert len(examined) == 4
    monkeypatch.setattr(generator, "commit", lambda: "another")
    monkeypatch.setattr(generator, "examined", _interrupted(examined, 8))
    assert rows() == found
    assert examined[4:] == [0, 3, 0, 3]


@pytest.mark.parametrize("source", ["", "0123456789ab+"])
def test_batteries_of_a_source_without_a_commit_are_run_again(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examined = list[int]()
    monkeypatch.setattr(generator, "commit", lambda: source)
    monkeypatch.setattr(generator, "examined", _interrupted(examined, 2))
    for _ in range(2):
        generator.rows(("elements",), "testu01.so", kept=tmp_path)
    assert examined == [0, 0]


@pytest.mark.parametrize(
    "content", ["", "[]", '{"commit": "abc"}', '{"commit": "abc", "batteries": [{"taken": 1}]}']
)
def test_a_broken_file_of_batteries_is_named(
    content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator, "commit", lambda: "abc")
    (tmp_path / "elements.json").write_text(content)
    with pytest.raises(
        ValueError, match=r"elements.json: holds no batteries of tests \(.*; remove it to begin"
    ):
        generator.rows(("elements",), "testu01.so", kept=tmp_path)
