"""What is known after each epoch, and the file it is kept in."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nsm.files import write_atomically
from nsm.training.errors import RunFolderError

METRICS_FILE = "metrics.csv"


class EpochMetrics(NamedTuple):
    """One row of ``metrics.csv``.

    Attributes:
        epoch: number of the epoch, from 1.
        step: steps done.
        train_loss: mean loss of the epoch's steps, in nats, while the weights moved.
        train_error_percent: examples wrong in the epoch's steps.
        validation_error_percent: validation images wrong by the average of the Monte Carlo samples; None
            without validation images.
        validation_nll: their mean negative log-likelihood, in nats.
        learning_rate: of the epoch's last step.
        seconds: wall time of the epoch, validation included.
    """

    epoch: int
    step: int
    train_loss: float
    train_error_percent: float
    validation_error_percent: float | None
    validation_nll: float | None
    learning_rate: float
    seconds: float


def write_metrics(folder: Path, rows: Sequence[EpochMetrics]) -> None:
    """Write the whole ``metrics.csv``; a value that does not exist is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(EpochMetrics._fields)
    writer.writerows(rows)
    write_atomically(folder / METRICS_FILE, text.getvalue().encode())


def read_metrics(folder: str | Path) -> tuple[EpochMetrics, ...]:
    """The rows of ``metrics.csv``.

    Raises:
        RunFolderError: if it cannot be read or holds something else.
    """
    path = Path(folder) / METRICS_FILE
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            names = list(table.fieldnames or ())
            rows = tuple(_row(row) for row in table) if names == list(EpochMetrics._fields) else None
    except (OSError, TypeError, ValueError, csv.Error) as error:
        raise RunFolderError(f"{path}: holds no metrics of a run ({error})") from error
    if rows is None:
        raise RunFolderError(f"{path}: holds no metrics of a run, whose columns are {EpochMetrics._fields}")
    return rows


def _row(cells: Mapping[str, str]) -> EpochMetrics:
    absent = [name for name in ("validation_error_percent", "validation_nll") if cells[name] == ""]
    values: dict[str, Any] = dict.fromkeys(absent)
    values |= {name: float(cells[name]) for name in EpochMetrics._fields if name not in absent}
    return EpochMetrics(**{**values, "epoch": int(cells["epoch"]), "step": int(cells["step"])})


def append_metrics(folder: Path, row: EpochMetrics) -> None:
    """Add one row to ``metrics.csv``."""
    with (folder / METRICS_FILE).open("a", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerow(row)


def out_of_patience(rows: Sequence[EpochMetrics], patience: int | None) -> bool:
    """Whether the validation error of the last ``patience`` epochs never fell below what was best before."""
    errors = [row.validation_error_percent for row in rows if row.validation_error_percent is not None]
    if patience is None or len(errors) <= patience:
        return False
    return min(errors[-patience:]) >= min(errors[:-patience])
