"""The tables and curves of the study of confidence, means over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from nsm.report.shifts import ShiftCurve
from nsm.studies.means import grouped, shown
from nsm.studies.results import Row


def shift_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Known images by kind of shift, means over strengths and seeds."""
    headings = ["shift", "method", "error, %", "NLL", "ECE", "NLL at T", "ECE at T", "T", "AURC", "samples"]
    cells = [
        [name, method, *(shown(group, key, digits) for key, digits in _SHIFT_COLUMNS)]
        for (name, method), group in grouped(rows, "name", "method")
        if "nll" in group[0]
    ]
    return headings, cells


_SHIFT_COLUMNS = (
    ("error_percent", 2),
    ("nll", 4),
    ("ece", 4),
    ("tempered_nll", 4),
    ("tempered_ece", 4),
    ("temperature", 2),
    ("aurc", 4),
    ("samples", 1),
)


def unknown_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Unknown images against known ones, means over seeds, with the cost of a decision."""
    headings = ["images", "method", "AUROC, entropy", "AUROC, mutual information", "FPR95, entropy"]
    headings += ["samples", "million products", "thousand random bits", "ms"]
    cells = []
    for (name, method), group in grouped(rows, "name", "method"):
        if "auroc_entropy" in group[0]:
            keys = ("auroc_entropy", "auroc_mutual_information", "fpr95_entropy")
            costs = [
                f"{mean(row['products'] for row in group) / 1e6:.1f}",
                f"{mean(row['random_bits'] for row in group) / 1e3:.0f}",
            ]
            figures = [shown(group, key, 4) for key in keys]
            cells.append(
                [
                    name,
                    method,
                    *figures,
                    shown(group, "samples", 1),
                    *costs,
                    shown(group, "milliseconds", 2),
                ]
            )
    return headings, cells


def layers_table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """How undecided and how alike the neurons of each layer are, means over strengths and seeds."""
    inspected = [row for row in rows if "undecided_1" in row]
    layers = range(1, 1 + max((_layers(row) for row in inspected), default=0))
    columns = [(name, number) for name in ("undecided", "common") for number in layers]
    headings = ["images", "method", *(f"{name} in layer {number}, %" for name, number in columns)]
    cells = [
        [name, method, *(shown(group, f"{column}_{number}", 0) for column, number in columns)]
        for (name, method), group in grouped(inspected, "name", "method")
    ]
    return headings, cells


def _layers(row: Row) -> int:
    return sum(key.startswith("undecided_") for key in row)


def curves(rows: Sequence[Row]) -> dict[str, dict[str, ShiftCurve]]:
    """Error, likelihood and calibration of each method against the angle of rotation, means over seeds."""
    panels = {"Error (%)": "error_percent", "NLL (nats)": "nll", "ECE": "ece"}
    found: dict[str, dict[str, ShiftCurve]] = {title: {} for title in panels}
    for (name, method), group in grouped(rows, "name", "method"):
        if name == "rotation":
            for title, key in panels.items():
                angles = sorted({row["strength"] for row in group})
                values = [mean(row[key] for row in group if row["strength"] == angle) for angle in angles]
                found[title][method] = ShiftCurve(angles, values)
    return found
