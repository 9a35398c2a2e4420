"""What the commands of ``nsm reproduce`` share: options, and running the jobs behind a bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from nsm.studies.results import Row
    from nsm.studies.runs import Job, Scoring

Epochs = Annotated[int | None, typer.Option(min=1, help="Epochs of each run.", show_default="the recipe's")]
Results = Annotated[
    Path | None, typer.Option(help="Result file.", dir_okay=False, show_default="RUNS/results.json")
]
Picture = Annotated[
    Path | None,
    typer.Option(help="Also draw the results into this PNG file.", dir_okay=False, show_default=False),
]
Seeds = Annotated[int, typer.Option(min=1, help="Seeds 0 to SEEDS - 1.")]
Processes = Annotated[
    int,
    typer.Option(min=1, help="Runs at a time, which share the cores; no figure depends on it."),
]


def measured(
    jobs: Sequence[Job],
    scoring: Scoring,
    study: str,
    path: Path,
    processes: int,
    data_dir: Path | None,
    *,
    quiet: bool,
    ordered: Callable[[Sequence[Row]], list[Row]] | None = None,
) -> list[Row]:
    """Run the jobs behind a bar, and keep what is known so far in the result file, in the order of networks,
    seeds and jobs if no other is given.
    """
    from nsm.cli.progress import progress
    from nsm.studies.results import write
    from nsm.studies.runs import rows

    order = {job.label: i for i, job in reversed(list(enumerate(jobs)))}

    def in_order(found: Sequence[Row]) -> list[Row]:
        return sorted(found, key=lambda row: (row["network"], row["seed"], order[row["model"]]))

    found: list[Row] = []
    with progress(study, quiet=quiet) as show:
        show(0, len(jobs))
        for row in rows(jobs, scoring, processes=processes, root=data_dir):
            found = (ordered or in_order)([*found, row])
            write(path, study, found)
            show(len(found), len(jobs))
    return found


def train_missing(
    jobs: Sequence[Job], scoring: Scoring, processes: int, data_dir: Path | None, *, quiet: bool
) -> None:
    """Train, behind a bar, the jobs that are not trained yet."""
    from nsm.cli.progress import progress
    from nsm.studies import runs

    missing = runs.missing(jobs)
    if not missing:
        return
    with progress("training", quiet=quiet) as show:
        show(0, len(missing))
        for number, _ in enumerate(runs.rows(missing, scoring, processes=processes, root=data_dir), 1):
            show(number, len(missing))


def cell(value: object) -> str:
    """A number to three digits, any other value as it is, nothing for None."""
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
