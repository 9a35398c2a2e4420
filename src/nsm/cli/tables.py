"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nsm.cli.plain import plain

_WORD = 24  # letters of a word that stay together on a narrow terminal


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
        console.print(Text(plain(title)), soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    cells = [[plain(str(cell)) for cell in row] for row in rows]
    for number, column in enumerate(columns):
        words = [word for text in (column, *(row[number] for row in cells)) for word in text.split()]
        longest = max(map(len, words), default=0)
        table.add_column(
            column,
            justify="left" if column in texts else "right",
            overflow="fold",
            min_width=min(longest, _WORD),
        )
    for row in cells:
        # Text: brackets in a file's name are no markup.
        table.add_row(*map(Text, row))
    console.print(table)
