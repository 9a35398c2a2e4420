"""What this machine can do at most: products of small integers on its cores, and bytes through its memory."""

from __future__ import annotations

from collections.abc import Callable

import torch

from nsm.native import paths

MULTIPLY_ADDS = 10**9  # at least, on each thread, of one measurement
COPIED = 2**26  # float32 numbers, far more than any cache holds


def product(threads: int) -> tuple[Callable[[], None], int] | None:
    """The product's instructions on registers alone.

    Args:
        threads: how many do them at the same time.

    Returns:
        What to time and the multiply-adds that it makes; None without kernels.
    """
    chosen = paths.chosen()
    if chosen is None:
        return None

    def made() -> int:
        done: int = chosen.kernels.multiply_adds(
            least=MULTIPLY_ADDS, instruction_set=chosen.instruction_set, threads=threads
        )
        return done

    def run() -> None:
        made()

    return run, made()


def copy() -> tuple[Callable[[], object], int]:
    """A copy of memory on torch's threads: what to time, and the bytes that it reads and writes."""
    source = torch.zeros(COPIED)
    target = torch.empty_like(source)
    return lambda: target.copy_(source), 2 * source.nbytes
