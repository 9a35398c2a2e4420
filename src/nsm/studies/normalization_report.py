"""Tables, picture and page of the study of self-normalization, from its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from nsm.report.drawing import CLASSES, INK, NSM, SOFT, TWIN, picture
from nsm.report.study import Exhibit, study_report
from nsm.studies.inside import WEIGHT_PERCENTILES
from nsm.studies.normalization import KINDS
from nsm.studies.origin import origin
from nsm.studies.results import Row
from nsm.studies.robustness import CHANGES, FACTORS

Table = tuple[list[str], list[list[str]]]
_COLOURS = dict(zip(KINDS, (NSM, CLASSES[4], CLASSES[2], CLASSES[8], TWIN), strict=True))
_LOW, _HIGH = WEIGHT_PERCENTILES.index(15), WEIGHT_PERCENTILES.index(85)


def preactivation_table(rows: Sequence[Row]) -> Table:
    """Percentiles before the first step and after the last one, and how far neurons moved."""
    last = rows[0]["preactivations"]["step"][-1]
    headings = [
        "network", "15/50/85 % at step 0", f"at step {last}", "widening, largest", "drift, largest",
        f"drift at step {last}",
    ]  # fmt: skip

    def cells(row: Row) -> list[str]:
        found = row["preactivations"]
        return [
            KINDS[row["model"]].title,
            *(" / ".join(f"{found[p][place]:.2f}" for p in ("p15", "p50", "p85")) for place in (0, -1)),
            f"{max(found['widening']):.2f}",
            f"{max(found['drift']):.2f}",
            f"{found['drift'][-1]:.2f}",
        ]

    return headings, [cells(row) for row in rows]


def weight_table(rows: Sequence[Row]) -> Table:
    """p85 - p15 and p99 - p1 of each hidden layer's weights at the end over those at the start."""
    layers = list(rows[0]["weights"])
    epochs = len(rows[0]["weights"][layers[0]]) - 1
    headings = [
        "network", *(f"{layer}, p85 - p15" for layer in layers), *(f"{layer}, p99 - p1" for layer in layers),
        "epochs",
    ]  # fmt: skip

    def ratio(course: Sequence[Sequence[float]], low: int, high: int) -> str:
        start, end = (course[place][high] - course[place][low] for place in (0, -1))
        return f"{end / start:.2f}"

    return headings, [
        [
            KINDS[row["model"]].title,
            *(ratio(row["weights"][layer], _LOW, _HIGH) for layer in layers),
            *(ratio(row["weights"][layer], 0, -1) for layer in layers),
            str(epochs),
        ]
        for row in rows
    ]


_CHANGED: Sequence[tuple[str, str, float]] = (
    ("as learnt", "none", 1.0),
    *((f"weights x {size:g}", "weights", size) for size in FACTORS),
    *((f"and biases x {size:g}", "neurons", size) for size in FACTORS),
    *((f"each + {size:g}", "each", size) for size in CHANGES),
)


def change_table(rows: Sequence[Row]) -> Table:
    """Errors in percent after changes of the weights."""
    lines = []
    for row in rows:
        for statistics in ("kept", "anew"):
            errors = _errors(row, statistics)
            if errors:
                name = KINDS[row["model"]].title + (", statistics anew" if statistics == "anew" else "")
                cells = (errors[change, size] for _, change, size in _CHANGED)
                lines.append([name, *(f"{error:.2f}" for error in cells)])
    return ["network", *(name for name, _, _ in _CHANGED)], lines


def _errors(row: Row, statistics: str) -> dict[tuple[str, float], float]:
    return {
        (entry["change"], entry["size"]): entry["error_percent"]
        for entry in row["changes"]
        if entry["statistics"] == statistics
    }


def draw(rows: Sequence[Row], *, kind: Literal["svg", "png"] = "png") -> bytes:
    """Preactivations by kind, weights over epochs, and errors against changes of weights."""

    def panels(figure: Figure) -> None:
        halves = figure.add_gridspec(2, 1, height_ratios=(1.0, 1.25))
        above, below = (figure.add_subfigure(halves[i]) for i in range(2))
        title = "Preactivations of the last hidden layer: 15, 50 and 85 % over neurons and images"
        above.suptitle(title, x=0.012, ha="left", fontsize=9.5, fontweight="bold")
        for axes, row in zip(above.subplots(1, len(rows), sharey=True), rows, strict=True):
            _preactivations(axes, row)
        weights, common, each = below.subplots(1, 3)
        _weights(weights, rows)
        _changes(common, rows, "neurons", "Error (%), neurons multiplied", "largest factor")
        _changes(each, rows, "each", "Error (%), weights changed", "standard deviations added")
        handles, labels = weights.get_legend_handles_labels()
        below.legend(handles, labels, loc="outside lower center", ncols=len(rows), fontsize=8)

    return picture(panels, 9.4, 5.4, kind=kind)


def _preactivations(axes: Axes, row: Row) -> None:
    found, colour = row["preactivations"], _COLOURS[row["model"]]
    axes.fill_between(found["step"], found["p15"], found["p85"], color=colour, alpha=0.18, linewidth=0)
    for name, width in (("p15", 1.0), ("p50", 1.8), ("p85", 1.0)):
        axes.plot(found["step"], found[name], color=colour, linewidth=width)
    axes.set_title(KINDS[row["model"]].title, fontsize=8, fontweight="normal", color=INK)
    axes.set_xlabel("step")
    axes.grid(axis="y")


def _weights(axes: Axes, rows: Sequence[Row]) -> None:
    for row in rows:
        layer = list(row["weights"])[-1]
        course = row["weights"][layer]
        for place, label in ((_HIGH, KINDS[row["model"]].title), (_LOW, None)):
            values = [entry[place] for entry in course]
            axes.plot(range(len(course)), values, color=_COLOURS[row["model"]], linewidth=1.4, label=label)
    axes.set_title("Weights (15 and 85 %)")
    axes.set_xlabel("epoch")
    axes.grid(axis="y")


def _changes(axes: Axes, rows: Sequence[Row], change: str, title: str, label: str) -> None:
    for row in rows:
        colour = _COLOURS[row["model"]]
        for statistics, dashes in (("kept", "-"), ("anew", ":")):
            errors = _errors(row, statistics)
            if errors:
                _line(axes, errors, change, colour, dashes)
        if change == "neurons":
            _line(axes, _errors(row, "kept"), "weights", colour, "--")
    if change == "neurons":
        axes.plot([], [], "-", color=SOFT, label="weights and biases")
        axes.plot([], [], "--", color=SOFT, label="weights alone")
    axes.plot([], [], ":", color=SOFT, label="batch norm, statistics anew")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    bottom, top = axes.get_ylim()
    axes.set_yticks([tick for tick in (1, 2, 5, 10, 20, 50, 90) if tick <= top])
    axes.set_ylim(bottom, top * (top / bottom) ** 0.25)  # room for the legend above all lines
    axes.set_title(title)
    axes.set_xlabel(label)
    axes.grid(axis="y")
    axes.legend(loc="upper left", fontsize=7)


def _line(
    axes: Axes, errors: Mapping[tuple[str, float], float], change: str, colour: str, dashes: str
) -> None:
    start = 1.0 if change in ("neurons", "weights") else 0.0
    points = {start: errors["none", 1.0]} | {
        size: error for (what, size), error in errors.items() if what == change
    }
    axes.plot(
        list(points), [max(value, 0.1) for value in points.values()], dashes, color=colour, linewidth=1.4
    )


TABLES: Mapping[str, tuple[str, Callable[[Sequence[Row]], Table]]] = {
    "normalization-preactivations": ("Preactivations in the first steps", preactivation_table),
    "normalization-weights": ("Weights over all epochs", weight_table),
    "normalization-changes": ("Error in percent after changes of the weights", change_table),
}


def report(rows: Sequence[Row]) -> str:
    """The page."""
    row: Mapping[str, Any] = rows[0]
    lead = (
        f"The same network with five ways of keeping its preactivations in range, or none, learnt "
        f"{row['learnt']:,} images of MNIST over {row['epochs']} epochs and is judged on {row['n']:,} that "
        "were held out."
    )
    exhibits = [Exhibit("In pictures", picture=draw(rows, kind="svg"), alt="The numbers of the tables below")]
    for heading, build in TABLES.values():
        exhibits.append(Exhibit(heading, *build(rows)))
    return study_report("Self-normalization", lead, exhibits, origin())
