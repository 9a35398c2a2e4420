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


def test_a_missing_battery_is_named() -> None:
    with pytest.raises(ValueError, match=r"nothing\.so could not be loaded"):
        generator.rows(("elements",), "nothing.so")
