"""Tables in Markdown files, generated from result files: no figure in a page is typed by hand.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end of table -->``; what is between is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nsm.data import describe
from nsm.files import write_atomically
from nsm.studies import (
    compiled,
    confidence_tables,
    convergence_report,
    dvsgesture,
    images_report,
    learning,
    nmnist_table,
    normalization_report,
    results,
    settling,
    stream_accuracy,
    stream_speed,
)
from nsm.studies.comparisons import COMPARISONS

_BLOCK = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def update(page: Path, folder: Path) -> bool:
    """Write every table of a Markdown file anew from the result files in ``folder``.

    Returns:
        Whether the file changed.

    Raises:
        ValueError: if the page cannot be read or is no text, or asks for a table that is unknown or whose
            result file is missing.
    """
    try:
        before = page.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{page}: is no text (byte {error.start})") from error
    except OSError as error:
        raise ValueError(f"{page}: cannot be read ({error.strerror})") from error
    after = _BLOCK.sub(lambda found: found[1] + render(found["name"], folder) + found[3], before)
    if after != before:
        write_atomically(page, after.encode())
    return after != before


def render(name: str, folder: Path) -> str:
    """One table in Markdown.

    Raises:
        ValueError: if no such table is known, or its result file is missing.
    """
    if name not in TABLES:
        raise ValueError(f"table must be one of {', '.join(TABLES)}, got {name!r}")
    file, build = TABLES[name]
    path = folder / f"{file}.json"
    if not path.is_file():
        raise ValueError(f"table {name} needs {path}, which does not exist")
    headings, cells = build(results.read_json(path)["rows"])
    right = ["---"] + ["---:"] * (len(headings) - 1)
    lines = [headings, right, *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


Table = tuple[list[str], list[list[str]]]
Rows = Sequence[Mapping[str, Any]]


def _comparison(study: str) -> Callable[[Rows], Table]:
    def build(rows: Rows) -> Table:
        return list(images_report.HEADINGS), images_report.cells(COMPARISONS[study], rows)

    return build


def _learning(rows: Rows) -> Table:
    headings = ["change", "error, %", "one sample", "means", "signs", "NLL", "train loss"]
    keys = ("one_sample_error_percent", "mean_error_percent", "threshold_error_percent")
    order = list(learning.VARIANTS)
    cells = [
        [
            row["model"],
            f"{row['error_percent']:.2f}",
            *(f"{row[key]:.2f}" if key in row else "" for key in keys),
            f"{row['nll']:.4f}",
            f"{row['train_loss']:.4f}",
        ]
        for row in sorted(rows, key=lambda row: order.index(row["model"]))
    ]
    return headings, cells


def _signals(rows: Rows) -> Table:
    headings = ["change", "layer", "gain", "undecided, %", "activation SNR", "gradient SNR"]
    cells = []
    for variant in ("recipe", "average pooling", "gains and biases as released"):
        for row in (row for row in rows if row["model"] == variant):
            names = [key.removeprefix("end_layer_") for key in row if key.startswith("end_layer_")]
            cells += [[f"{variant}, {when}", *_layer(row, when, name)] for when in _TIMES for name in names]
    return headings, cells


_TIMES = ("start", "end")


def _layer(row: Mapping[str, Any], when: str, name: str) -> Iterable[str]:
    def value(what: str) -> float:
        return float(row[f"{when}_{what}_{name}"])

    shown = (value("activation_snr"), value("gradient_snr"))
    return (name, f"{value('gain'):.2f}", f"{100 * value('undecided'):.0f}", *(f"{x:.2g}" for x in shown))


def _speed(rows: Rows) -> Table:
    headings = ["what", "ours", "rival", "unit", "ratio", "threads", "rival is"]
    cells = [
        [
            row["name"],
            f"{row['ours']:,.4g}" if row["ours"] < 1000 else f"{row['ours']:,.0f}",
            f"{row['fastest_rival']:,.4g}" if row["fastest_rival"] < 1000 else f"{row['fastest_rival']:,.0f}",
            row["unit"],
            f"{row['ratio']:.2f}",
            str(row["threads"]),
            row["rival"],
        ]
        for row in rows
    ]
    return headings, cells


def _training(rows: Rows) -> Table:
    headings, cells = _speed(rows)
    return [*headings, "ours is"], [[*line, row["ours_is"]] for line, row in zip(cells, rows, strict=True)]


def _predictions(rows: Rows) -> Table:
    compared = [row for row in rows if "sweep" not in row and not row["name"].startswith("memory")]
    headings, cells = _speed(compared)
    shares = [f"{100 * row['share']:.0f}" if "share" in row else "" for row in compared]
    return [*headings[:-1], "of the peak, %", headings[-1]], [
        [*line[:-1], share, line[-1]] for line, share in zip(cells, shares, strict=True)
    ]


def _scaling(rows: Rows) -> Table:
    headings = ["what", "samples/s", "of the reference", "reference", "of the peak, %"]
    cells = [
        [
            row["name"],
            f"{row['ours']:,.0f}",
            f"{row['of_reference']:.2f}",
            row["reference"],
            f"{100 * row['share']:.0f}" if "share" in row else "",
        ]
        for row in rows
        if "reference" in row
    ]
    return headings, cells


def _rivals(rows: Rows) -> Table:
    compared = [row for row in rows if "all" in row and "sweep" not in row]
    names = list(dict.fromkeys(name for row in compared for name in row["all"]))
    cells = [
        [row["name"], *(f"{row['all'][name]:,.0f}" if name in row["all"] else "" for name in names)]
        for row in compared
    ]
    return ["samples/s", *names], cells


def _generator(rows: Rows) -> Table:
    cells = [
        [
            row["stream"],
            f"{row['bytes'] / 2**30:.2f}",
            str(row["statistics"]),
            str(len(row["suspect"])),
            f"{row['smallest']:.4f}",
            f"{row['largest']:.4f}",
        ]
        for row in rows
    ]
    return ["stream", "GiB", "statistics", "suspect", "smallest p", "largest p"], cells


def _clt(rows: Rows) -> Table:
    fan_ins = sorted({int(row["fan_in"]) for row in rows})
    headings = ["law", *(f"fan-in {fan_in}" for fan_in in fan_ins)]
    laws = list(dict.fromkeys(row["law"] for row in rows))
    largest = {(row["law"], row["fan_in"]): float(row["largest"]) for row in rows}
    return headings, [[law, *(f"{largest[law, fan_in]:.1e}" for fan_in in fan_ins)] for law in laws]


def _saccades(rows: Rows) -> Table:
    keys = ("recorded", "simulated")
    cells = [[row["name"], *(f"{row[key]:.4g}" for key in keys)] for row in rows if "recorded" in row]
    return ["statistic", *keys], cells


def _nmnist(rows: Rows) -> Table:
    return list(nmnist_table.HEADINGS), nmnist_table.cells(rows)


def _gestures(rows: Rows) -> Table:
    headings = [
        "set", "kind", "epochs", "training windows", "samples", "window error, %", "gesture error, %",
        "by majority, %", "seeds", "published, % of recorded windows",
    ]  # fmt: skip
    cells = [
        [
            describe(row["set"]).title,
            row["title"],
            str(row["epochs"]),
            f"{row['train_windows']:,}",
            f"{row['samples']:g}",
            *(f"{row[key]:.2f}" for key in ("mean", "gesture_mean", "majority_mean")),
            str(row["count"]),
            f"{row['published']:.2f}",
        ]
        for row in dvsgesture.table(rows)
    ]
    return headings, cells


TABLES: Mapping[str, tuple[str, Callable[[Rows], Table]]] = {
    "mnist": ("mnist", _comparison("mnist")),
    "mnist-mlp": ("mnist-mlp", _comparison("mnist")),
    "mnist-short": ("mnist-short", _comparison("mnist")),
    "mnist-population": ("mnist-population", _comparison("mnist")),
    "training-methods": ("training-methods", _comparison("training-methods")),
    "fashion-mnist": ("fashion-mnist", _comparison("fashion-mnist")),
    "fashion-mnist-cnn": ("fashion-mnist-cnn", _comparison("fashion-mnist")),
    "fashion-mnist-population": ("fashion-mnist-population", _comparison("fashion-mnist")),
    "fashion-mnist-cnn-20": ("fashion-mnist-cnn-20", _comparison("fashion-mnist")),
    "cifar10": ("cifar10", _comparison("cifar10")),
    "cifar10-population": ("cifar10-population", _comparison("cifar10")),
    "cifar10-residual": ("cifar10-residual", _comparison("cifar10")),
    "learning": ("learning", _learning),
    "signals": ("learning", _signals),
    "speed-train": ("speed-train", _training),
    "speed-train-avx2": ("speed-train-avx2", _training),
    "speed-predict": ("speed-predict", _predictions),
    "speed-predict-vnni": ("speed-predict-vnni", _predictions),
    "speed-predict-avx2": ("speed-predict-avx2", _predictions),
    "speed-predict-allconv": ("speed-predict-allconv", _predictions),
    "speed-predict-allconv-vnni": ("speed-predict-allconv-vnni", _predictions),
    "speed-scaling": ("speed-predict", _scaling),
    "speed-scaling-vnni": ("speed-scaling-vnni", _scaling),
    "speed-draw": ("speed-draw", _speed),
    "speed-draw-avx2": ("speed-draw-avx2", _speed),
    "speed-draw-avx512": ("speed-draw-avx512", _speed),
    "rivals": ("speed-predict", _rivals),
    "compiled": ("compiled", compiled.table),
    "generator": ("generator", _generator),
    "generator-long": ("generator-long", _generator),
    "clt": ("clt", _clt),
    "events": ("events", _speed),
    "saccades": ("saccades", _saccades),
    "dvsgesture": ("dvsgesture", _gestures),
    "nmnist": ("nmnist", _nmnist),
    "nmnist-60": ("nmnist-60", _nmnist),
    "stream": ("stream", stream_speed.table),
    "stream-avx2": ("stream-avx2", stream_speed.table),
    "stream-accuracy": ("stream-accuracy", stream_accuracy.table),
    "stream-accuracy-early": ("stream-accuracy-early", stream_accuracy.table),
    "stream-accuracy-gestures": ("stream-accuracy-gestures", stream_accuracy.table),
    "convergence": ("convergence", convergence_report.table),
    **{name: ("normalization", build) for name, (_, build) in normalization_report.TABLES.items()},
    "settling": ("settling", settling.table),
    "settling-population": ("settling-population", settling.table),
    "confidence-shift": ("confidence", confidence_tables.shift_table),
    "confidence-layers": ("confidence", confidence_tables.layers_table),
    "confidence-unknown": ("confidence", confidence_tables.unknown_table),
    "confidence-pass": ("confidence-pass", confidence_tables.shift_table),
    "confidence-pass-unknown": ("confidence-pass", confidence_tables.unknown_table),
}
