"""Table, picture and page of the study of convergence, from its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from nsm.report.drawing import CLASSES, NSM, SOFT, TWIN, picture
from nsm.report.study import Exhibit, study_report
from nsm.report.words import counted
from nsm.studies.convergence import KINDS, THRESHOLDS
from nsm.studies.origin import origin
from nsm.studies.results import Row

_COLOURS = dict(zip(KINDS, (NSM, CLASSES[2], TWIN), strict=True))
_MARKERS = dict(zip(KINDS, "os^", strict=True))

Table = tuple[list[str], list[list[str]]]


def table(rows: Sequence[Row]) -> Table:
    """One line for each batch size and learning rate: epochs to 2 % and to 1 % of each kind.

    Where a threshold was not met, the smallest error stands in brackets, or why there is none.
    """
    limits = " / ".join(f"{limit:g} %" for limit in THRESHOLDS)
    headings = ["batch size", "learning rate", "cap, epochs"]
    headings += [f"{kind.title}, to {limits}" for kind in KINDS.values()]
    places = dict.fromkeys((row["batch_size"], row["lr"], row["cap_epochs"]) for row in rows)
    found = {(row["batch_size"], row["lr"], row["model"]): row for row in rows}
    return headings, [
        [
            str(batch),
            f"{rate:g}",
            f"{cap:g}",
            *(_cell(found.get((batch, rate, kind))) for kind in KINDS),
        ]
        for batch, rate, cap in sorted(places)
    ]


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    if row["best_error_percent"] is None:
        return str(row["end"])
    met = [row[f"epochs_to_{limit:g}"] for limit in THRESHOLDS]
    text = " / ".join("-" if epochs is None else f"{epochs:.2f}" for epochs in met)
    return text if met[-1] is not None else f"{text} ({row['best_error_percent']:.2f} %, {row['end']})"


def draw(rows: Sequence[Row], *, kind: Literal["svg", "png"] = "png") -> bytes:
    """Epochs to each threshold against the learning rate, a panel for each batch size."""
    batches = sorted({row["batch_size"] for row in rows})

    def panels(figure: Figure) -> None:
        grid = figure.subplots(len(THRESHOLDS), len(batches), squeeze=False, sharex=True, sharey="row")
        for lines, limit in zip(grid, THRESHOLDS, strict=True):
            for axes, batch in zip(lines, batches, strict=True):
                mine = [row for row in rows if row["batch_size"] == batch]
                _panel(axes, mine, limit)
                axes.set_title(f"to {limit:g} %, batches of {batch:,}", fontsize=8.5)
            lines[0].set_ylabel("epochs")
        for axes in grid[-1]:
            axes.set_xlabel("learning rate")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(handles))

    return picture(panels, 9.0, 4.6, kind=kind)


def _panel(axes: Axes, rows: Sequence[Row], limit: float) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    cap = max(row["cap_epochs"] for row in rows)
    axes.axhline(cap, color=SOFT, linewidth=0.8, linestyle=":")
    for number, (name, kind) in enumerate(KINDS.items()):
        mine = sorted((row for row in rows if row["model"] == name), key=lambda row: float(row["lr"]))
        met = [(row["lr"], row[f"epochs_to_{limit:g}"]) for row in mine]
        axes.plot(
            [rate for rate, _ in met],
            [float("nan") if epochs is None else epochs for _, epochs in met],
            marker=_MARKERS[name],
            markersize=5,
            color=_COLOURS[name],
            label=kind.title,
        )
        # Side by side above the cap: what did not get there.
        failed = [
            row["lr"] * 1.35 ** (number - 1)
            for row, (_, epochs) in zip(mine, met, strict=True)
            if epochs is None and row["end"] != "impossible"
        ]
        axes.plot(failed, [1.5 * cap] * len(failed), "x", color=_COLOURS[name], markersize=5)
    axes.plot([], [], "x", color=SOFT, markersize=5, label="not met before the cap (dotted), or given up")
    rates = sorted({float(row["lr"]) for row in rows})
    axes.set_xlim(rates[0] / 2, rates[-1] * 2)
    axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y")


def report(rows: Sequence[Row]) -> str:
    """The page."""
    row: Mapping[str, object] = rows[0]
    lead = (
        f"How soon a Neural Sampling Machine and its conventional twins err on no more than 2 % and 1 % of "
        f"held-out images, of {row['learnt']:,} images of MNIST to learn, by {counted(len(rows), 'run')} at "
        "constant learning rates."
    )
    note = (
        "Epochs to each error; where it was not met, the smallest error and why the run ended: at its cap, "
        "given up since it erred on more than 20 % after a fifth of the cap, at infinity or NaN, or "
        "impossible, since one image has no statistics."
    )
    exhibits = [
        Exhibit("In pictures", picture=draw(rows, kind="svg"), alt="The numbers of the table below"),
        Exhibit("Epochs to 2 % and to 1 %", *table(rows), notes=(note,)),
    ]
    return study_report("Convergence", lead, exhibits, origin())
