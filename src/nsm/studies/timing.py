"""Timing two sides of a comparison in turn."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Any

import torch

_REST = 0.2  # seconds, longer than threads of torch and onnxruntime look for more work


def rest() -> None:
    """Wait until the threads of what ran last sleep: till then they keep other cores from what is next."""
    time.sleep(_REST)


def in_turn(
    sides: Sequence[Callable[[], object]],
    repeats: int,
    after_round: Callable[[], object] | None = None,
    *,
    rested: bool = False,
) -> list[float]:
    """Median seconds of each side over ``repeats`` rounds, after one that does not count.

    ``after_round`` is called behind each of them. Where sides use several threads, each should be
    ``rested``: begin after a :func:`rest`. Without need it would only begin on a core that has cooled down.
    """
    taken: list[list[float]] = [[] for _ in sides]
    for turn in range(repeats + 1):
        for side, times in zip(sides, taken, strict=True):
            if rested:
                rest()
            started = time.perf_counter()
            side()
            if turn:
                times.append(time.perf_counter() - started)
        if after_round is not None:
            after_round()
    return [median(times) for times in taken]


def counted(progress: Callable[[int, int], object] | None, total: int) -> Callable[[], None]:
    """What tells ``progress`` (done, total), one more done with each call."""
    done = itertools.count(1)

    def one_more() -> None:
        if progress is not None:
            progress(next(done), total)

    return one_more


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Run a block with this number of torch's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def row(name: str, rival: str, values: Sequence[float], **described: Any) -> dict[str, Any]:
    """One comparison: our value, the rival's, their ratio."""
    ours, theirs = values
    compared = {"ours": ours, "fastest_rival": theirs, "rival": rival, "ratio": ours / theirs}
    return {"name": name, **compared, **described, "threads": torch.get_num_threads()}
