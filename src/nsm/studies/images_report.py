"""Picture and page of a comparison on images, from its rows and runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nsm.report.curves import percent_axis
from nsm.report.drawing import CLASSES, NSM, SOFT, TWIN, picture
from nsm.report.study import Exhibit, study_report
from nsm.studies.images import MARGINAL, MIRRORED, Comparison
from nsm.studies.origin import origin
from nsm.studies.results import Row
from nsm.studies.runs import Job
from nsm.training import read_metrics

HEADINGS = ("network", "kind", "epochs", "error, %", "one seed each", "NLL", "ECE", "published, %")


def cells(comparison: Comparison, rows: Sequence[Row]) -> list[list[str]]:
    """The table under :data:`HEADINGS`."""
    lines = []
    for row in comparison.table(rows):
        mine = [r for r in rows if all(r[key] == row[key] for key in ("network", "model", "epochs"))]
        lines.append(_line(row, mine, row["title"]))
        if all(f"{MARGINAL}nll" in r for r in mine):
            lines.append(_line(row, mine, f"{row['title']}: one pass over marginals", MARGINAL))
        if all(f"{MIRRORED}nll" in r for r in mine):
            lines.append(_line(row, mine, f"{row['title']}: with mirrored images", MIRRORED))
    return lines


def _line(row: Row, mine: Sequence[Row], title: str, prefix: str = "") -> list[str]:
    """A line of the table: what rows of one kind say under names that begin with ``prefix``."""
    return [
        row["network"],
        title,
        str(row["epochs"]),
        f"{_mean(mine, f'{prefix}error_percent'):.3f}",
        ", ".join(f"{r[f'{prefix}error_percent']:.2f}" for r in sorted(mine, key=lambda r: int(r["seed"]))),
        f"{_mean(mine, f'{prefix}nll'):.4f}",
        f"{_mean(mine, f'{prefix}ece'):.4f}",
        "" if row["published"] is None else f"{row['published']:.3f}",
    ]


def _mean(rows: Sequence[Row], key: str) -> float:
    return sum(float(row[key]) for row in rows) / len(rows)


def draw(
    comparison: Comparison, rows: Sequence[Row], jobs: Sequence[Job], *, kind: Literal["svg", "png"] = "png"
) -> bytes:
    """For each network, test errors of every seed beside the published ones, and how the first seed learnt.

    Args:
        comparison: what was compared.
        rows: its rows.
        jobs: its runs, all of them over.
        kind: format of the picture.
    """
    networks = list(dict.fromkeys(row["network"] for row in rows))
    colours = _colours(comparison)

    def panels(figure: Figure) -> None:
        for lines, network in zip(
            figure.subplots(len(networks), 2, squeeze=False, width_ratios=(1.0, 1.2)), networks, strict=True
        ):
            mine = [row for row in rows if row["network"] == network]
            published = _errors(lines[0], comparison, mine, colours)
            first = [
                job for job in jobs if job.config.network.name == network and job.config.training.seed == 0
            ]
            _courses(lines[1], first, colours)
            lines[0].set_title("Test error (%), ◇ published" if published else "Test error (%)")
            lines[1].set_title(f"Training error (%), {network}")

    height = max(2.4, 0.9 + 0.28 * len(comparison.kinds)) * len(networks)
    return picture(panels, 9.0, height, kind=kind)


def _colours(comparison: Comparison) -> dict[str, str]:
    others = iter(colour for colour in CLASSES if colour not in (CLASSES[0], CLASSES[1]))
    known = {"bnsm": NSM, "twin": TWIN}
    return {kind: known.get(kind) or next(others) for kind in comparison.kinds}


def _errors(axes: Axes, comparison: Comparison, rows: Sequence[Row], colours: Mapping[str, str]) -> bool:
    """Whether there are published errors."""
    summary = comparison.table(rows)
    for place, line in enumerate(summary):
        mine = [row["error_percent"] for row in rows if row["model"] == line["model"]]
        axes.plot(mine, [place] * len(mine), "o", color=colours[line["model"]], markersize=5, alpha=0.8)
        if line["published"] is not None:
            axes.plot([line["published"]], [place], "D", color=SOFT, markersize=5, fillstyle="none")
    axes.set_yticks(range(len(summary)), [line["title"] for line in summary])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.margins(y=0.1)
    axes.set_xlim(0.0, 1.05 * axes.get_xlim()[1])  # the last point is drawn whole
    axes.grid(axis="x")
    return any(line["published"] is not None for line in summary)


def _courses(axes: Axes, jobs: Sequence[Job], colours: Mapping[str, str]) -> None:
    courses = {job.label: [row.train_error_percent for row in read_metrics(job.folder)] for job in jobs}
    for label, errors in courses.items():
        marker = "o" if len(errors) == 1 else None  # a line of one point is not seen
        axes.plot(range(1, len(errors) + 1), errors, marker=marker, color=colours[label], linewidth=1.4)
    percent_axis(axes, [error for errors in courses.values() for error in errors])
    axes.set_xlim(0, max(2, *map(len, courses.values())))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.grid(axis="y")


def report(comparison: Comparison, rows: Sequence[Row], jobs: Sequence[Job]) -> str:
    """The page."""
    row = rows[0]
    lead = (
        f"Neural Sampling Machines and conventional networks of the same shape learnt {comparison.title} by "
        f"the same recipe, and are scored on {row['n']:,} test images, those that draw with "
        f"{max(r['samples'] for r in rows):g} samples of each."
    )
    alt = "Test errors of the table below, and the error while the first seed learnt"
    exhibits = [
        Exhibit("Errors", HEADINGS, cells(comparison, rows), texts=2),
        Exhibit("In pictures", picture=draw(comparison, rows, jobs, kind="svg"), alt=alt),
    ]
    return study_report(f"Comparison on {comparison.title}", lead, exhibits, origin())
