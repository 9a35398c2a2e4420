"""A picture of how fast a compiled network samples as batch, samples and width grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from nsm.report.drawing import NSM, SOFT, TWIN, picture
from nsm.studies.predict_speed import OURS

_TITLES = {
    "batch": ("Batch, 100 samples each", "inputs of a call"),
    "samples": ("Samples of each of 256 inputs", "samples"),
    "width": ("Width of three hidden layers", "neurons of a layer"),
}
_RIVALS = (("--", "o"), (":", "s"))


def draw(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Samples per second over each sweep of :func:`nsm.studies.predict_scaling.rows`, as PNG."""

    def panels(figure: Figure) -> None:
        axes = figure.subplots(1, len(_TITLES), sharey=True)
        for ax, sweep in zip(axes, _TITLES, strict=True):
            _curves(ax, [row for row in rows if row.get("sweep") == sweep])
            title, label = _TITLES[sweep]
            ax.set_title(title)
            ax.set_xlabel(label)
        axes[0].set_ylabel("samples per second")
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))

    return picture(panels, 10.0, 3.6, kind="png")


def _curves(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    values = [row["value"] for row in rows]
    rivals = iter(_RIVALS)
    for name in rows[0]["all"]:
        style, marker = ("-", "o") if name == OURS else next(rivals)
        rates = [row["all"][name] for row in rows]
        colour = NSM if name == OURS else TWIN
        axes.plot(values, rates, style, marker=marker, markersize=4, color=colour, label=name)
    if all("ceiling" in row for row in rows):
        ceilings = [row["ceiling"] for row in rows]
        axes.plot(
            values, ceilings, "-", color=SOFT, linewidth=1.0, label="multiply-adds alone, at their peak"
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(values, [str(value) for value in values])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(visible=True)
