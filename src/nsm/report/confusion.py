"""Which classes are taken for which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from nsm.report.drawing import INK, SOFT, WIDTH, picture

Counts = npt.NDArray[np.int64]

_MANY = 12  # classes beyond which counts of right answers find no room
_LISTED = 8  # kinds of confusions


def confusion_matrix(counts: Counts, classes: Sequence[str]) -> bytes:
    """True class by row and predicted class by column, as SVG; wrong answers are coloured.

    Args:
        counts: shape (C, C), how many images of the row's class were taken for the column's.
        classes: names of the C classes.
    """
    wrong = _off_diagonal(counts).astype(float)
    many = len(classes) > _MANY
    names = [name if len(name) <= 12 else name[:11] + "…" for name in classes]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        colours = LinearSegmentedColormap.from_list("errors", ["#ffffff", "#f6c9a3", "#d0701f"])
        axes.imshow(np.sqrt(wrong), cmap=colours, vmin=0.0, vmax=max(1.0, float(np.sqrt(wrong.max()))))
        for (row, column), count in np.ndenumerate(counts):
            if count and not (many and row == column):
                colour, size = (SOFT, 7.0) if row == column else (INK, 5.0 if many else 8.0)
                axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=size)
        turned = 90 if max(map(len, names)) > 2 else 0
        ticks = 6.0 if many else 8.5
        axes.set_xticks(range(len(names)), names, rotation=turned, fontsize=ticks)
        axes.set_yticks(range(len(names)), names, fontsize=ticks)
        axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axes.grid(which="minor")
        axes.tick_params(which="both", length=0)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        for spine in axes.spines.values():
            spine.set_visible(False)

    return picture(draw, WIDTH, WIDTH)


def frequent(counts: Counts, classes: Sequence[str]) -> list[tuple[str, str, int]]:
    """The most frequent confusions, as (true class, predicted class, how often).

    >>> frequent(np.array([[5, 2], [1, 7]]), ["a", "b"])
    [('a', 'b', 2), ('b', 'a', 1)]
    """
    wrong = _off_diagonal(counts)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_LISTED]
    pairs = zip(*np.unravel_index(order, wrong.shape), strict=True)
    return [(classes[i], classes[j], int(wrong[i, j])) for i, j in pairs if wrong[i, j]]


def _off_diagonal(counts: Counts) -> Counts:
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    return wrong
