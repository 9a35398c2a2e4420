"""``nsm reproduce``, studies on images and of the law: one command for each, and nothing else here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nsm.cli.options import DataDir, Json, Quiet, Samples, Seed
from nsm.cli.reproduce_all import all_studies
from nsm.cli.reproduce_claims import convergence, normalization
from nsm.cli.reproduce_events import dvsgesture, nmnist, saccades, stream
from nsm.cli.reproduce_images import cifar10, fashion_mnist, mnist, training_methods
from nsm.cli.studies import Epochs, Picture, Processes, Results, Seeds, measured, train_missing
from nsm.files import write_atomically

if TYPE_CHECKING:
    from nsm.studies.results import Row


app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Repeat a study.")


@app.command()
def digits(
    runs: Annotated[Path, typer.Option(help="Folder of runs, results and report.")] = Path("runs/demo"),
    epochs: Epochs = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Also draw the turned digit into this PNG file.", dir_okay=False, show_default=False
        ),
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

    from nsm.report import comparison
    from nsm.studies.digits import run

    # On networks this small a second thread waits more than it works.
    torch.set_num_threads(1)
    found = run(runs, epochs=epochs, quiet=quiet)
    if picture is not None:
        write_atomically(picture, found.picture())
    if as_json:
        typer.echo(json.dumps({"study": digits.__name__, "rows": found.rows}))
        return
    from nsm.cli.tables import show

    show(comparison.HEADINGS, comparison.cells(found.comparison.sides), texts=comparison.HEADINGS[:1])
    typer.echo(f"Report: {found.report}")


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
    from nsm.studies.runs import Scoring

    jobs, path = study.jobs(runs, epochs=epochs), results or runs / "results.json"
    measured(jobs, Scoring(study.score), study.STUDY, path, processes, data_dir, quiet=quiet)
    typer.echo(f"{len(jobs)} variants: {path}")


@app.command()
def confidence(
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/confidence"),
    network: Annotated[
        str, typer.Option(help="Whose confidence: mnist-cnn or cifar10-allconv-third.")
    ] = "mnist-cnn",
    seeds: Seeds = 3,
    images: Annotated[
        int, typer.Option(min=2, help="Images of each shifted set; of images as they are 100 times as many.")
    ] = 1000,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind", help="Only methods of this kind of network; may be repeated.", show_default="all"
        ),
    ] = None,
    epochs: Epochs = None,
    processes: Processes = 1,
    data_dir: DataDir = None,
    results: Annotated[
        Path | None, typer.Option(help="Result file.", dir_okay=False, show_default="RUNS/confidence.json")
    ] = None,
    picture: Picture = None,
    quiet: Quiet = False,
) -> None:
    """Uncertainty under shift, beside rivals.

    On digits network and rivals have centered weights; network and twin
    without, and a network of populations, are shown beside them. All leave
    2,000 images out, to fit temperatures to. Trains what is missing. Kinds
    of mnist-cnn: bnsm-centered, twin-dropout-centered, twin-centered, bnsm,
    twin, bnsm-population-centered; of cifar10-allconv-third:
    bnsm-population, twin-dropout, twin.

    Examples:
        nsm reproduce confidence --results results/confidence.json
        nsm reproduce confidence --network cifar10-allconv-third --seeds 1
        nsm reproduce confidence --seeds 1 --images 200
        nsm reproduce confidence --kind bnsm-centered --images 100
    """
    from nsm.cli.progress import progress
    from nsm.report.shifts import shift_picture
    from nsm.studies import confidence as study
    from nsm.studies.confidence_subjects import jobs
    from nsm.studies.confidence_tables import curves
    from nsm.studies.results import write
    from nsm.studies.runs import Scoring

    wanted = jobs(runs, network=network, seeds=seeds, epochs=epochs, kinds=kind)
    path = results or runs / "confidence.json"
    train_missing(wanted, Scoring(study.score), processes, data_dir, quiet=quiet)
    measured: list[Row] = []
    with progress(study.STUDY, quiet=quiet) as show:
        question = study.Question(tuple(wanted), images, data_dir)
        for measured in study.run(question, seeds=seeds, processes=processes, progress=show):
            write(path, study.STUDY, measured)
    if picture is not None:
        write_atomically(picture, shift_picture(curves(measured)))
    typer.echo(f"{len(measured)} rows: {path}")


@app.command()
def settling(
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("runs/mnist"),
    seeds: Seeds = 3,
    kind: Annotated[
        str, typer.Option(help="Kind of network of nsm reproduce mnist: bnsm or bnsm-population.")
    ] = "bnsm",
    images: Annotated[
        int, typer.Option(min=2, help="Images of each shifted set, and those compared with 10,000 samples.")
    ] = 1000,
    epochs: Epochs = None,
    processes: Processes = 1,
    data_dir: DataDir = None,
    results: Annotated[
        Path | None, typer.Option(help="Result file.", dir_okay=False, show_default="RUNS/settling.json")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """As many samples as needed, beside a fixed number of them.

    Uses the runs of nsm reproduce mnist, and trains what is missing.

    Examples:
        nsm reproduce settling --results results/settling.json
        nsm reproduce settling --seeds 1 --images 200
        nsm reproduce settling --kind bnsm-population --images 250
    """
    from nsm.cli.progress import progress
    from nsm.cli.tables import show as show_table
    from nsm.studies import images as published
    from nsm.studies import settling as study
    from nsm.studies.results import write

    wanted = study.jobs(runs, kind=kind, seeds=seeds, epochs=epochs)
    path = results or runs / "settling.json"
    train_missing(wanted, published.scoring(published.Size()), processes, data_dir, quiet=quiet)
    found: list[Row] = []
    with progress(study.STUDY, quiet=quiet) as show:
        for found in study.run(wanted, images=images, root=data_dir, progress=show):
            write(path, study.STUDY, found)
    headings, cells = study.table(found)
    show_table(headings, cells, texts=headings[:2])
    typer.echo(f"{path}")


@app.command()
def clt(
    results: Annotated[Path, typer.Option(help="Result file.", dir_okay=False)] = Path(
        "runs/clt/results.json"
    ),
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
            help="elements, inputs, samples, layers, seeds, planes or program; may be repeated.",
            show_default="all",
        ),
    ] = None,
    library: Annotated[
        Path | None, typer.Option(help="TestU01's shared library.", show_default="the installed one")
    ] = None,
    stretches: Annotated[
        int, typer.Option(min=1, help="Batteries for each stream, each reading on behind the last.")
    ] = 1,
    runs: Annotated[Path, typer.Option(help="Folder of batteries that are done, and results.")] = Path(
        "runs/generator"
    ),
    results: Annotated[
        Path | None, typer.Option(help="Result file.", dir_okay=False, show_default="RUNS/results.json")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """The generator's numbers in the library's orders, under TestU01's SmallCrush.

    A battery takes .85 GiB of numbers, ten seconds or more. Those that are done
    are kept: in a clean checkout, the same command goes on behind them.

    Examples:
        nsm reproduce generator --results results/generator.json
        nsm reproduce generator --stream elements --stretches 76 --results results/generator-long.json
    """
    from nsm.cli.progress import progress
    from nsm.studies import generator as study
    from nsm.studies.results import write

    chosen, file = tuple(stream or study.STREAMS), None if library is None else str(library)
    with progress(study.STUDY, quiet=quiet) as show:
        rows = study.rows(chosen, file, stretches=stretches, kept=runs, progress=show)
    results = results or runs / "results.json"
    write(results, study.STUDY, rows)
    typer.echo(f"{results}")


@app.command()
def compiled(
    folders: Annotated[
        list[Path], typer.Argument(help="Run folders of one network on one set of images.", metavar="RUN")
    ],
    samples: Samples = None,
    seed: Seed = 0,
    data_dir: DataDir = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Result file.", dir_okay=False, show_default="compiled.json in the first RUN"),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Trained networks beside their programs of fewer and fewer bits.

    Examples:
        nsm reproduce compiled runs/mnist-cnn --results results/compiled.json
    """
    from nsm.cli.progress import progress
    from nsm.cli.tables import show as show_table
    from nsm.studies import compiled as study
    from nsm.studies.results import write

    with progress(study.STUDY, quiet=quiet) as show:
        rows = study.run(folders, samples=samples, seed=seed, root=data_dir, progress=show)
    write(results or folders[0] / "compiled.json", study.STUDY, rows)
    headings, lines = study.table(rows)
    show_table(headings, lines, texts=headings[:1])


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


for _command in (
    mnist, training_methods, fashion_mnist, cifar10, normalization, convergence, saccades, dvsgesture, nmnist,
    stream,
):  # fmt: skip
    app.command()(_command)
app.command("all")(all_studies)
