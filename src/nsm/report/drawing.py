"""How every picture looks and becomes a file: matplotlib without pyplot, so that no state is shared."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.figure import Figure, SubFigure

INK, SOFT, LINE = "#1b2430", "#5b6675", "#dde2e8"
NSM, TWIN, TRUE = "#1f5fa8", "#d0701f", "#1a7f4b"
# One colour for each class, again from the start after ten.
CLASSES = (
    "#3f74b5", "#e08a3c", "#4f9d5d", "#c8504e", "#8468b5",
    "#8c6a52", "#d47fb4", "#7b8794", "#b5a835", "#3aa5b3",
)  # fmt: skip

# Pictures are shown at their own size or, on a phone, a little smaller.
WIDTH = 4.4
Canvas = Figure | SubFigure

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "figure.facecolor": "white",
    # The same picture is the same file, and looks the same whatever fonts the reader has.
    "svg.hashsalt": "nsm",
    "svg.fonttype": "path",
}


def picture(
    draw: Callable[[Figure], None],
    width: float,
    height: float,
    *,
    kind: Literal["svg", "png"] = "svg",
    constrained: bool = True,
) -> bytes:
    """The picture that ``draw`` puts on an empty figure.

    Args:
        draw: adds axes to the figure.
        width: inches.
        height: inches.
        kind: format of the file.
        constrained: let matplotlib make room for labels; otherwise axes stay where they are put.
    """
    file = io.BytesIO()
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained" if constrained else None)
        draw(figure)
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(file, format=kind, dpi=200, metadata=metadata)
    return file.getvalue()
