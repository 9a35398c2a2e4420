"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text


def show(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    texts: Collection[str] = (),
    title: str | None = None,
) -> None:
    """Print a table to standard output.

    Args:
        columns: headings.
        rows: cells.
        texts: columns that hold text; the others hold numbers, which are aligned right.
        title: a line above it.
    """
    console = Console(highlight=False)
    if title:
        console.print(Text(title), soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="left" if column in texts else "right", overflow="fold")
    for row in rows:
        # Text: brackets in a file's name are no markup.
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)
