"""``nsm reproduce``, published claims as figures: one command for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nsm.cli.options import DataDir, Json, Quiet
from nsm.cli.studies import Picture, Processes, Results, measured
from nsm.files import write_atomically

if TYPE_CHECKING:
    from nsm.studies.results import Row


def normalization(
    runs: Annotated[Path, typer.Option(help="Folder of runs, results and report.")] = Path(
        "runs/normalization"
    ),
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of each run.", show_default="100")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Every step, but few images and epochs: half a minute.")
    ] = False,
    processes: Processes = 1,
    data_dir: DataDir = None,
    results: Results = None,
    picture: Picture = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Self-normalization: preactivations, weights, and changed weights.

    NSM, additive noise, batch norm, weight norm and none, on MNIST. A quarter
    of an hour on one core. What was interrupted is continued.

    Examples:
        nsm reproduce normalization --quick
        nsm reproduce normalization --picture normalization.png
    """
    from nsm.cli.tables import show as show_table
    from nsm.report import REPORT_FILE
    from nsm.studies import normalization as study
    from nsm.studies import normalization_report as report

    size = study.QUICK if quick else study.Size()
    size = size if epochs is None else size._replace(epochs=epochs)
    jobs, path = study.jobs(runs, size), results or runs / "results.json"
    found = measured(
        jobs, study.scoring(size), study.STUDY, path, processes, data_dir, quiet=quiet, ordered=study.ordered
    )
    write_atomically(runs / REPORT_FILE, report.report(found).encode())
    if picture is not None:
        write_atomically(picture, report.draw(found))
    if as_json:
        typer.echo(json.dumps({"study": study.STUDY, "rows": found}))
        return
    for title, build in report.TABLES.values():
        headings, cells = build(found)
        show_table(headings, cells, texts=headings[:1], title=title)
    typer.echo(f"Report: {runs / REPORT_FILE}")


def convergence(
    runs: Annotated[Path, typer.Option(help="Folder of runs, results and report.")] = Path(
        "runs/convergence"
    ),
    quick: Annotated[
        bool, typer.Option("--quick", help="A corner of the grid and few images: half a minute.")
    ] = False,
    data_dir: DataDir = None,
    results: Results = None,
    picture: Picture = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Epochs to 2 % and 1 % error over learning rates and batch sizes.

    NSM beside its twin without normalization and with batch norm, on MNIST,
    judged on held-out training images. Half an hour on one core; runs that
    ended are not repeated.

    Examples:
        nsm reproduce convergence --quick
        nsm reproduce convergence --picture convergence.png
    """
    from nsm.cli.progress import progress
    from nsm.cli.tables import show as show_table
    from nsm.report import REPORT_FILE
    from nsm.studies import convergence as study
    from nsm.studies import convergence_report as report
    from nsm.studies.results import write
    from nsm.training.memory import keep_freed_memory

    keep_freed_memory()  # as nsm train does
    size, path = study.QUICK if quick else study.Size(), results or runs / "results.json"
    count = len(study.cells(size))
    found: list[Row] = []
    with progress(study.STUDY, quiet=quiet) as show:
        show(0, count)
        for row in study.rows(runs, size, data_dir):
            found.append(row)
            write(path, study.STUDY, found)
            show(len(found), count)
    write_atomically(runs / REPORT_FILE, report.report(found).encode())
    if picture is not None:
        write_atomically(picture, report.draw(found))
    if as_json:
        typer.echo(json.dumps({"study": study.STUDY, "rows": found}))
        return
    show_table(*report.table(found))
    typer.echo(f"Report: {runs / REPORT_FILE}")
