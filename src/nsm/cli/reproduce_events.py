"""``nsm reproduce``, studies on recordings of event cameras: one command for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from nsm.cli.options import DataDir, Json, Quiet, RunFolder, Samples, Seed
from nsm.cli.studies import Epochs, Picture, Processes, Results, Seeds, cell, measured
from nsm.files import write_atomically


def saccades(
    fit: Annotated[
        bool, typer.Option("--fit", help="Fit the parameters first, instead of the library's own.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the simulation.")] = 0,
    data_dir: DataDir = None,
    results: Annotated[Path, typer.Option(help="Result file.", dir_okay=False)] = Path(
        "runs/saccades/results.json"
    ),
    picture: Annotated[
        Path | None,
        typer.Option(help="Also draw both into this PNG file.", dir_okay=False, show_default=False),
    ] = None,
) -> None:
    """Simulated N-MNIST-like recordings beside real ones of the same digits.

    Needs MNIST and N-MNIST in the data folder. The fit takes some minutes.

    Examples:
        nsm reproduce saccades --picture saccades.png
        nsm reproduce saccades --fit
    """
    from nsm.cli.tables import show
    from nsm.studies import saccades as study
    from nsm.studies.results import write

    found = study.run(data_dir, seed=seed, fitted=fit)
    rows = study.rows(found)
    write(results, study.STUDY, rows)
    if picture is not None:
        write_atomically(picture, study.draw(found))
    cells = [[row["name"], f"{row['recorded']:.4g}", f"{row['simulated']:.4g}"] for row in rows[:-1]]
    show(("statistic", "recorded", "simulated"), cells, texts=("statistic",))
    typer.echo(f"{results}")


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
    seeds: Seeds = 1,
    epochs: Epochs = None,
    samples: Samples = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few simulated gestures, one epoch: a minute or two.")
    ] = False,
    processes: Processes = 1,
    data_dir: DataDir = None,
    results: Results = None,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Also draw gestures of each class into this PNG.", dir_okay=False, show_default=False
        ),
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
    from nsm.cli.progress import progress
    from nsm.cli.tables import show as show_table
    from nsm.studies import dvsgesture as study

    if quick:
        plan = study.quick(runs)
    else:
        chosen = study.chosen_set(name, data_dir)
        plan = study.Plan(runs, chosen, data_dir, study.SAMPLES, epochs)
    jobs = study.jobs(
        plan.runs,
        name=plan.set,
        kinds=kind or plan.kinds,
        seeds=seeds,
        epochs=plan.epochs,
        images=plan.images,
    )
    with progress("simulating gestures", quiet=quiet) as show:
        study.prepare(plan, processes=processes, progress=show)
    plan = plan._replace(samples=samples or plan.samples)
    path = results or plan.runs / "results.json"
    rows = measured(jobs, study.scoring(plan), study.STUDY, path, processes, plan.root, quiet=quiet)
    if picture is not None:
        write_atomically(picture, study.picture(plan))
    if as_json:
        typer.echo(json.dumps({"study": study.STUDY, "rows": rows}))
        return
    headings = ("set", "kind", "epochs", "window error, %", "gesture error, %", "runs", "published, %")
    keys = ("set", "title", "epochs", "mean", "gesture_mean", "count", "published")
    cells = [[cell(row[key]) for key in keys] for row in study.table(rows)]
    show_table(headings, cells, texts=headings[:2])


def nmnist(
    runs: Annotated[Path, typer.Option(help="Folder of runs, results and report.")] = Path("runs/nmnist"),
    regime: Annotated[
        list[str] | None, typer.Option(help="Only this regime; may be repeated.", show_default="all")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option(help="Only this kind; may be repeated.", show_default="all")
    ] = None,
    seeds: Seeds = 1,
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
    picture: Picture = None,
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
    from nsm.cli.tables import show as show_table
    from nsm.report import REPORT_FILE, regimes_picture, regimes_report
    from nsm.studies import nmnist as study
    from nsm.studies import nmnist_table as table
    from nsm.studies.nmnist_report import collect

    size = study.sized(quick=quick, epochs=epochs, simulated=simulated)
    regimes, kinds = regime or list(study.REGIMES), kind or list(study.KINDS)
    jobs = study.jobs(runs, regimes=regimes, kinds=kinds, seeds=seeds, size=size, root=data_dir)
    path, scoring = results or runs / "results.json", study.scoring(size, data_dir)
    found = measured(
        jobs, scoring, study.STUDY, path, processes, data_dir, quiet=quiet, ordered=table.ordered
    )
    shown = collect(jobs, found, size, data_dir)
    write_atomically(runs / REPORT_FILE, regimes_report(shown).encode())
    if picture is not None:
        write_atomically(picture, regimes_picture(shown, kind="png"))
    if as_json:
        typer.echo(json.dumps({"study": study.STUDY, "rows": found}))
        return
    show_table(table.HEADINGS, table.cells(found), texts=table.HEADINGS[:2])
    typer.echo(f"Report: {runs / REPORT_FILE}")


def stream(
    run: RunFolder,
    confidence: Annotated[float, typer.Option(help="Of each decision.", metavar="0..1")] = 0.99,
    max_samples: Annotated[int, typer.Option(min=1, help="Most samples of a decision.")] = 100,
    seed: Seed = 0,
    recordings: Annotated[
        int | None,
        typer.Option(min=1, help="Recordings that are streamed, evenly chosen.", show_default="all"),
    ] = None,
    compiled: Annotated[bool, typer.Option("--compiled", help="Let the compiled network decide.")] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Also draw it into this PNG file.", dir_okay=False, show_default=False)
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Result file.", dir_okay=False, show_default="RUN/stream-accuracy.json"),
    ] = None,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Accuracy of a trained network against time since a recording began.

    Every test recording in the data folder is streamed by itself, or every gesture.

    Examples:
        nsm reproduce stream runs/nmnist-cnn
        nsm reproduce stream runs/nmnist-cnn --picture docs/images/stream-accuracy.png
        nsm reproduce stream runs/dvsgesture-allconv --compiled --recordings 33
    """
    from nsm.cli.progress import progress
    from nsm.cli.tables import show as show_table
    from nsm.studies import stream_accuracy as study
    from nsm.studies.results import write

    with progress(study.STUDY, quiet=quiet) as show:
        rows = study.run(
            run,
            confidence=confidence,
            max_samples=max_samples,
            seed=seed,
            recordings=recordings,
            compiled=compiled,
            root=data_dir,
            progress=show,
        )
    write(results or run / "stream-accuracy.json", study.STUDY, rows)
    if picture is not None:
        write_atomically(picture, study.draw(rows))
    show_table(*study.table(rows))
