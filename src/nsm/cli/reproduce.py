"""``nsm reproduce``: one command for each study, and nothing else here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nsm.cli.options import DataDir, Json, Quiet, RunFolder, Samples, Seed

if TYPE_CHECKING:
    from nsm.studies.results import Row
    from nsm.studies.runs import Job, Score

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Repeat a study.")

Epochs = Annotated[int | None, typer.Option(min=1, help="Epochs of each run.", show_default="the recipe's")]


@app.command()
def digits(
    runs: Annotated[Path, typer.Option(help="Folder of runs, results and report.")] = Path("runs/demo"),
    epochs: Epochs = None,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw the turned digit into this PNG file.", show_default=False)
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """The demonstration: an NSM and its twin learn small digits, in a minute.

    What was trained before is used again.

    Examples:
        nsm reproduce digits
        nsm reproduce digits --picture docs/images/digits.png
    """
    import torch

    from nsm.files import write_atomically
    from nsm.report import comparison
    from nsm.studies.digits import run

    # On networks this small a second thread waits more than it works.
    torch.set_num_threads(1)
    found = run(runs, epochs=epochs, quiet=quiet)
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(picture, found.picture())
    if as_json:
        typer.echo(json.dumps({"study": digits.__name__, "rows": found.rows}))
        return
    from nsm.cli.tables import show

    show(comparison.HEADINGS, comparison.cells(found.comparison.sides), texts=comparison.HEADINGS[:1])
    typer.echo(f"Report: {found.report}")


Results = Annotated[Path | None, typer.Option(help="Result file.", show_default="RUNS/results.json")]
Processes = Annotated[
    int,
    typer.Option(min=1, help="Runs at a time, which share the cores; no figure depends on it."),
]


@app.command()
def mnist(
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/mnist"),
    network: Annotated[
        list[str] | None, typer.Option(help="Only this network; may be repeated.", show_default="all")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only this kind; may be repeated.", show_default="all")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to SEEDS - 1.")] = 3,
    epochs: Epochs = None,
    processes: Processes = 1,
    data_dir: DataDir = None,
    results: Results = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """The published comparison on MNIST: NSM, twin, other ways of training.

    Hours on two cores. What was interrupted is continued, what is finished
    is used again. Kinds: bnsm, gnsm, twin, bn, sn, ste, wbd, bd.

    Examples:
        nsm reproduce mnist --processes 2
        nsm reproduce mnist --network mnist-cnn --kind bnsm --kind twin --seeds 1 --epochs 2
    """
    from nsm.studies import mnist as study

    chosen = network or list(study.NETWORKS)
    jobs = study.jobs(runs, networks=chosen, kinds=kind, seeds=seeds, epochs=epochs)
    path = results or runs / "results.json"
    rows = _measured(jobs, study.score, study.STUDY, path, processes, data_dir, quiet=quiet)
    if as_json:
        typer.echo(json.dumps({"study": study.STUDY, "rows": rows}))
        return
    from nsm.cli.tables import show

    headings = ("network", "kind", "epochs", "error, %", "spread", "runs", "published, %")
    keys = ("network", "title", "epochs", "mean", "spread", "count", "published")
    cells = [[_cell(row[key]) for key in keys] for row in study.table(rows)]
    show(headings, cells, texts=headings[:2])


@app.command()
def learning(
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/learning"),
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each run.")] = 3,
    processes: Processes = 1,
    data_dir: DataDir = None,
    results: Results = None,
    quiet: Quiet = False,
) -> None:
    """What helps an NSM learn: one change of the MNIST recipe at a time.

    Judged on 10,000 training images held out; the test set is not read.

    Examples:
        nsm reproduce learning --epochs 1 --processes 2
    """
    from nsm.studies import learning as study

    jobs, path = study.jobs(runs, epochs=epochs), results or runs / "results.json"
    _measured(jobs, study.score, study.STUDY, path, processes, data_dir, quiet=quiet)
    typer.echo(f"{len(jobs)} variants: {path}")


@app.command()
def confidence(
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/mnist"),
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to SEEDS - 1.")] = 3,
    images: Annotated[int, typer.Option(min=2, help="Images of each shifted set.")] = 1000,
    epochs: Epochs = None,
    processes: Processes = 1,
    data_dir: DataDir = None,
    results: Annotated[
        Path | None, typer.Option(help="Result file.", show_default="RUNS/confidence.json")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw the results into this PNG file.", show_default=False)
    ] = None,
    quiet: Quiet = False,
) -> None:
    """As many samples as needed, and uncertainty under shift beside rivals.

    Uses the runs of nsm reproduce mnist, and trains what is missing: the twin
    with dropout, more twins for the ensemble, and networks that leave 10,000
    images out, to which temperatures are fitted.

    Examples:
        nsm reproduce confidence --results results/confidence.json
        nsm reproduce confidence --seeds 1 --images 200
    """
    from nsm.cli.progress import progress
    from nsm.files import write_atomically
    from nsm.report.shifts import shift_picture
    from nsm.studies import confidence as study
    from nsm.studies.confidence_tables import curves
    from nsm.studies.results import write
    from nsm.studies.runs import rows as trained_rows

    wanted, path = study.jobs(runs, seeds=seeds, epochs=epochs), results or runs / "confidence.json"
    missing = study.missing(wanted)
    if missing:
        with progress("training", quiet=quiet) as show:
            show(0, len(missing))
            found = trained_rows(missing, study.score, processes=processes, root=data_dir)
            for number, _ in enumerate(found, 1):
                show(number, len(missing))
    measured: list[Row] = []
    with progress(study.STUDY, quiet=quiet) as show:
        for measured in study.run(wanted, seeds=seeds, images=images, root=data_dir, progress=show):
            write(path, study.STUDY, measured)
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(picture, shift_picture(curves(measured)))
    typer.echo(f"{len(measured)} rows: {path}")


@app.command()
def clt(
    results: Annotated[Path, typer.Option(help="Result file.")] = Path("runs/clt/results.json"),
) -> None:
    """How far two moments are from the exact law of every synapse.

    Examples:
        nsm reproduce clt --results results/clt.json
    """
    from nsm.studies import clt as study
    from nsm.studies.results import write

    write(results, study.STUDY, study.run())
    typer.echo(f"{results}")


@app.command()
def generator(
    stream: Annotated[
        list[str] | None,
        typer.Option(
            help="elements, inputs, samples, layers, seeds or planes; may be repeated.", show_default="all"
        ),
    ] = None,
    library: Annotated[
        Path | None, typer.Option(help="TestU01's shared library.", show_default="the installed one")
    ] = None,
    results: Annotated[Path, typer.Option(help="Result file.")] = Path("runs/generator/results.json"),
) -> None:
    """The generator's numbers in the library's orders, under TestU01's SmallCrush.

    Examples:
        nsm reproduce generator --results results/generator.json
    """
    from nsm.studies import generator as study
    from nsm.studies.results import write

    chosen = tuple(stream or study.STREAMS)
    write(results, study.STUDY, study.rows(chosen, None if library is None else str(library)))
    typer.echo(f"{results}")


@app.command()
def saccades(
    fit: Annotated[
        bool, typer.Option("--fit", help="Fit the parameters first, instead of the library's own.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulation.")] = 0,
    data_dir: DataDir = None,
    results: Annotated[Path, typer.Option(help="Result file.")] = Path("runs/saccades/results.json"),
    picture: Annotated[
        Path | None, typer.Option(help="Also draw both into this PNG file.", show_default=False)
    ] = None,
) -> None:
    """Simulated N-MNIST-like recordings beside real ones of the same digits.

    Needs MNIST and N-MNIST in the data folder. The fit takes some minutes.

    Examples:
        nsm reproduce saccades --picture saccades.png
        nsm reproduce saccades --fit
    """
    from nsm.cli.tables import show
    from nsm.files import write_atomically
    from nsm.studies import saccades as study
    from nsm.studies.results import write

    found = study.run(data_dir, seed=seed, fitted=fit)
    rows = study.rows(found)
    write(results, study.STUDY, rows)
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(picture, study.draw(found))
    cells = [[row["name"], f"{row['recorded']:.4g}", f"{row['simulated']:.4g}"] for row in rows[:-1]]
    show(("statistic", "recorded", "simulated"), cells, texts=("statistic",))
    typer.echo(f"{results}")


@app.command()
def dvsgesture(
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/dvsgesture"),
    name: Annotated[
        str | None,
        typer.Option(
            "--set", help="Set to learn.", show_default="recordings in the data folder, else simulated"
        ),
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only this kind; may be repeated.", show_default="all")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to SEEDS - 1.")] = 1,
    epochs: Epochs = None,
    samples: Samples = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few simulated gestures, one epoch: a minute or two.")
    ] = False,
    processes: Processes = 1,
    data_dir: DataDir = None,
    results: Results = None,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw gestures of each class into this PNG.", show_default=False)
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Gestures: windows of 96 ms and the vote of a gesture, NSM beside twin.

    Learns the release of DVS Gestures where it is in the data folder, else
    simulated gestures, which are made first; the rows say which. Test users
    are never learnt. Hours. Kinds: bnsm, gnsm, twin.

    Examples:
        nsm reproduce dvsgesture --quick
        nsm reproduce dvsgesture --kind bnsm --kind twin --processes 2
        nsm reproduce dvsgesture --set dvsgesture-simulated --picture gestures.png
    """
    import functools

    from nsm.cli.progress import progress
    from nsm.cli.tables import show as show_table
    from nsm.studies import dvsgesture as study

    if quick:
        plan = study.quick(runs)
    else:
        chosen = study.chosen_set(name, data_dir)
        plan = study.Plan(runs, chosen, data_dir, study.SAMPLES, epochs)
    jobs = study.jobs(plan.runs, name=plan.set, kinds=kind or plan.kinds, seeds=seeds, epochs=plan.epochs)
    with progress("simulating gestures", quiet=quiet) as show:
        study.prepare(plan, processes=processes, progress=show)
    score = functools.partial(study.score, root=plan.root, samples=samples or plan.samples)
    path = results or plan.runs / "results.json"
    rows = _measured(jobs, score, study.STUDY, path, processes, plan.root, quiet=quiet)
    if picture is not None:
        from nsm.files import write_atomically

        picture.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(picture, study.picture(plan))
    if as_json:
        typer.echo(json.dumps({"study": study.STUDY, "rows": rows}))
        return
    headings = ("set", "kind", "epochs", "window error, %", "gesture error, %", "runs", "published, %")
    keys = ("set", "title", "epochs", "mean", "gesture_mean", "count", "published")
    cells = [[_cell(row[key]) for key in keys] for row in study.table(rows)]
    show_table(headings, cells, texts=headings[:2])


@app.command()
def nmnist(
    runs: Annotated[Path, typer.Option(help="Folder of runs, results and report.")] = Path("runs/nmnist"),
    regime: Annotated[
        list[str] | None, typer.Option(help="Only this regime; may be repeated.", show_default="all")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only this kind; may be repeated.", show_default="all")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds 0 to SEEDS - 1.")] = 1,
    epochs: Epochs = None,
    simulated: Annotated[
        int | None,
        typer.Option(min=1, help="Simulated recordings to learn.", show_default="one of each MNIST image"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Every step, but few recordings and epochs: a minute or two.")
    ] = False,
    processes: Processes = 1,
    data_dir: DataDir = None,
    results: Results = None,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw the results into this PNG file.", show_default=False)
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """N-MNIST: real recordings alone, simulated ones, and first these.

    Needs N-MNIST (a part will do) and MNIST in the data folder. An hour or two
    on one core. What was interrupted is continued, what is finished is used
    again. Regimes: alone, simulated, adapted; kinds: bnsm, twin.

    Examples:
        nsm reproduce nmnist --quick
        nsm reproduce nmnist --results results/nmnist.json
    """
    from nsm.cli.progress import progress
    from nsm.cli.tables import show as show_table
    from nsm.files import write_atomically
    from nsm.report import REPORT_FILE, regimes_picture, regimes_report
    from nsm.studies import nmnist as study
    from nsm.studies import nmnist_table as table
    from nsm.studies.nmnist_report import collect
    from nsm.studies.results import write

    size = study.sized(quick=quick, epochs=epochs, simulated=simulated)
    regimes, kinds = regime or list(study.REGIMES), kind or list(study.KINDS)
    stages = study.stages(runs, regimes=regimes, kinds=kinds, seeds=seeds, size=size, root=data_dir)
    path, count = results or runs / "results.json", sum(map(len, stages))
    found: list[Row] = []
    with progress(study.STUDY, quiet=quiet) as show:
        show(0, count)
        for row in study.rows(stages, size=size, processes=processes, root=data_dir):
            found.append(row)
            write(path, study.STUDY, table.ordered(found))
            show(len(found), count)
    shown = collect(stages, found, size, data_dir)
    write_atomically(runs / REPORT_FILE, regimes_report(shown).encode())
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(picture, regimes_picture(shown, kind="png"))
    if as_json:
        typer.echo(json.dumps({"study": study.STUDY, "rows": table.ordered(found)}))
        return
    show_table(table.HEADINGS, table.cells(found), texts=table.HEADINGS[:2])
    typer.echo(f"Report: {runs / REPORT_FILE}")


@app.command()
def compiled(
    run: RunFolder,
    samples: Samples = None,
    seed: Seed = 0,
    data_dir: DataDir = None,
    results: Annotated[
        Path | None, typer.Option(help="Result file.", show_default="RUN/compiled.json")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """A trained network beside its programs of fewer and fewer bits.

    Examples:
        nsm reproduce compiled runs/mnist-cnn --results results/compiled.json
    """
    from nsm.cli.progress import progress
    from nsm.cli.tables import show as show_table
    from nsm.studies import compiled as study
    from nsm.studies.results import write

    with progress(study.STUDY, quiet=quiet) as show:
        rows = study.run(run, samples=samples, seed=seed, root=data_dir, progress=show)
    write(results or run / "compiled.json", study.STUDY, rows)
    headings = ("what", "error (%)", "NLL (nats)", "bytes")
    cells = [
        (row["what"], f"{row['error_percent']:.2f}", f"{row['nll']:.4f}", row.get("bytes", ""))
        for row in rows
    ]
    show_table(headings, cells, texts=headings[:1])


@app.command()
def stream(
    run: RunFolder,
    confidence: Annotated[float, typer.Option(help="Of each decision.", metavar="0..1")] = 0.99,
    max_samples: Annotated[int, typer.Option(min=1, help="Most samples of a decision.")] = 100,
    seed: Seed = 0,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw it into this PNG file.", show_default=False)
    ] = None,
    results: Annotated[
        Path | None, typer.Option(help="Result file.", show_default="RUN/stream-accuracy.json")
    ] = None,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Accuracy of a trained network against time since a recording began.

    Every test recording in the data folder is streamed by itself.

    Examples:
        nsm reproduce stream runs/nmnist-cnn
        nsm reproduce stream runs/nmnist-cnn --picture docs/images/stream-accuracy.png
    """
    from nsm.cli.progress import progress
    from nsm.cli.tables import show as show_table
    from nsm.files import write_atomically
    from nsm.studies import stream_accuracy as study
    from nsm.studies.results import write

    with progress(study.STUDY, quiet=quiet) as show:
        rows = study.run(
            run, confidence=confidence, max_samples=max_samples, seed=seed, root=data_dir, progress=show
        )
    write(results or run / "stream-accuracy.json", study.STUDY, rows)
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(picture, study.draw(rows))
    show_table(*study.table(rows))


@app.command()
def tables(
    pages: Annotated[list[Path], typer.Argument(help="Markdown files to bring up to date.")],
    results: Annotated[Path, typer.Option(help="Folder of result files.")] = Path("results"),
) -> None:
    """Write the tables of Markdown pages anew from result files.

    Examples:
        nsm reproduce tables README.md docs/learning.md
    """
    from nsm.studies.tables import update

    for page in pages:
        typer.echo(f"{page}: {'changed' if update(page, results) else 'as it was'}")


def _measured(
    jobs: Sequence[Job],
    score: Score,
    study: str,
    path: Path,
    processes: int,
    data_dir: Path | None,
    *,
    quiet: bool,
) -> list[Row]:
    """Run the jobs behind a bar, and keep what is known so far in the result file."""
    from nsm.cli.progress import progress
    from nsm.studies.results import write
    from nsm.studies.runs import rows

    order = {job.label: i for i, job in reversed(list(enumerate(jobs)))}
    found: list[Row] = []
    with progress(study, quiet=quiet) as show:
        show(0, len(jobs))
        for row in rows(jobs, score, processes=processes, root=data_dir):
            found.append(row)
            found.sort(key=lambda row: (row["network"], row["seed"], order[row["model"]]))
            write(path, study, found)
            show(len(found), len(jobs))
    return found


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
