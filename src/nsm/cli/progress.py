"""The bar that long commands show on the terminal's error output, so that the output proper stays clean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress


@contextmanager
def progress(text: str, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar inside the block, on a terminal and unless ``quiet``; it takes (done, total)."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(text, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
