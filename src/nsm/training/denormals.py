"""Numbers too small to matter, and slow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Treat denormal numbers as 0 inside the block: far from the threshold the gradient makes many of them,
    and a processor takes a hundred times as long over each. It is a property of threads: torch's helping
    threads have that of the thread that starts them, once for all.
    """
    before = float(torch.tensor(1e-40) * 1.0) == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
