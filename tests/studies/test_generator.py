"""Streams of the generator as they go to a battery of tests."""

import itertools

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
