"""Methods side by side while images are moved away from what was learned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from nsm.report.drawing import CLASSES, WIDTH, picture


class ShiftCurve(NamedTuple):
    """A measure of one method against the strength of a shift.

    Attributes:
        strengths: rising.
        values: the measure at each.
    """

    strengths: Sequence[float]
    values: Sequence[float]


def shift_picture(panels: Mapping[str, Mapping[str, ShiftCurve]]) -> bytes:
    """One panel for each measure by its title, one line in it for each method by its name, as PNG."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for panel, (title, curves) in zip(axes, panels.items(), strict=True):
            for number, (name, curve) in enumerate(curves.items()):
                colour = CLASSES[number % len(CLASSES)]
                panel.plot(curve.strengths, curve.values, "o-", color=colour, markersize=3, label=name)
            panel.set_title(title)
            panel.set_xlabel("rotation (degrees)")
            top = max((value for curve in curves.values() for value in curve.values), default=0.0)
            panel.set_ylim(0.0, 1.05 * max(top, 1e-6))
            panel.grid(axis="y")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)

    return picture(draw, 0.8 * WIDTH * len(panels), 3.6, kind="png")
