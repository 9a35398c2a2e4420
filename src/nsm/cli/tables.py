"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from nsm.cli.plain import plain

_WORD = 24  # letters of a word that stay together on a narrow terminal
_GAP = 2


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
    contents = [[column, *(row[number] for row in cells)] for number, column in enumerate(columns)]
    for column, width in zip(columns, _widths(contents, console.width), strict=True):
        table.add_column(column, justify="left" if column in texts else "right", overflow="fold", width=width)
    for row in cells:
        # Text: brackets in a file's name are no markup.
        table.add_row(*map(Text, row))
    console.print(table)


def _widths(contents: Sequence[Sequence[str]], available: int) -> list[int]:
    """A width for each column: what its cells need, or, where space is short, less of the widest ones. Words
    are cut only where nothing else is left (rich by itself would cut off the last column).
    """
    widths = [max(1, *map(cell_len, content)) for content in contents]
    words = [
        max((cell_len(word) for text in content for word in text.split()), default=1) for content in contents
    ]
    excess = sum(widths) + _GAP * (len(widths) - 1) - available
    for least in ([min(word, _WORD) for word in words], [1] * len(words)):
        while excess > 0 and (wide := [i for i, width in enumerate(widths) if width > least[i]]):
            widths[max(wide, key=widths.__getitem__)] -= 1
            excess -= 1
    return widths
