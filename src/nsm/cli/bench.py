"""``nsm bench``: what is timed, side by side with its rival."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nsm.cli.options import DataDir, Json, Quiet

if TYPE_CHECKING:
    from nsm.studies.results import Row

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", help="Measure speed beside a rival's.")

Repeats = Annotated[int, typer.Option(min=1, help="Measurements of each side, in turn; medians count.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads.", show_default="torch's own choice")]
Results = Annotated[
    Path | None, typer.Option(help="Also write a result file.", dir_okay=False, show_default=False)
]
_Table = tuple[Sequence[str], Sequence[Sequence[object]]]  # headings and cells


@app.command()
def train(
    network: Annotated[
        list[str] | None,
        typer.Option(help="mnist-cnn, mnist-mlp or allconv; may be repeated.", show_default="mnist-cnn"),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps in each measurement.")] = 30,
    repeats: Repeats = 7,
    threads: Threads = None,
    data_dir: DataDir = None,
    results: Results = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Time and peak memory of training, NSM over conventional twin.

    An epoch's time, or that of one step of the published all-convolutional
    network for CIFAR-10 on random images (allconv: float32, and bfloat16
    where the processor multiplies it). Each as it is or by torch.compile
    (needs a C++ compiler), whichever is faster.

    Examples:
        nsm bench train --network mnist-cnn --network allconv --threads 1
    """
    from nsm.cli.progress import progress
    from nsm.studies import speed
    from nsm.training.memory import keep_freed_memory

    keep_freed_memory()  # as nsm train does
    _set_threads(threads)
    with progress("speed-train", quiet=quiet or as_json) as show_progress:
        rows = speed.rows(
            network or ("mnist-cnn",), repeats=repeats, steps=steps, root=data_dir, progress=show_progress
        )
    _report("speed-train", rows, results, as_json=as_json)


@app.command()
def predict(
    network: Annotated[
        list[str] | None,
        typer.Option(
            help="mlp, mlp-fresh, mlp1024, mnist-cnn or allconv; may be repeated.", show_default="all"
        ),
    ] = None,
    batch: Annotated[
        list[int] | None,
        typer.Option(
            min=1, help="Inputs in a call, of allconv at most 4; may be repeated.", show_default="1, 256"
        ),
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Monte Carlo samples of each input.")] = 100,
    threads: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Threads; may be repeated.", show_default="torch's own choice"),
    ] = None,
    scaling: Annotated[
        bool, typer.Option(help="Also over batches, samples, widths and threads, and memory.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(help="Draw that into this PNG file.", dir_okay=False, show_default=False)
    ] = None,
    repeats: Repeats = 7,
    results: Results = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Samples per second of a compiled network over its fastest rival's.

    Rivals: the network in plain torch; its twin with dropout in torch (also in
    bfloat16, where the processor multiplies it), by torch.compile (needs a C++
    compiler) and in onnxruntime (needs the extra "bench"), float32 and int8.
    Beside them the machine's own limits. All but mlp-fresh and allconv learn
    the bundled digits first: a network that is sure is faster. allconv
    is the published network for CIFAR-10, which takes minutes.

    Examples:
        nsm bench predict --threads 1 --json
        nsm bench predict --network mlp --batch 1
        nsm bench predict --threads 1 --threads 2 --scaling --picture speed.png
    """
    import torch

    from nsm.cli.progress import progress
    from nsm.files import write_atomically
    from nsm.studies import predict_picture, predict_scaling, predict_speed

    if picture is not None and not scaling:
        raise typer.BadParameter("--picture needs --scaling: it shows speed over batches, samples and widths")
    with progress(predict_speed.STUDY, quiet=quiet or as_json) as show_progress:
        rows = predict_speed.rows(
            network or tuple(predict_speed.PREDICTORS),
            batches=batch or (1, 256),
            threads=threads or (torch.get_num_threads(),),
            repeats=repeats,
            samples=samples,
            progress=show_progress,
        )
    if scaling:
        with progress("scaling", quiet=quiet or as_json) as show_progress:
            rows += predict_scaling.rows(repeats, show_progress)
    _report(predict_speed.STUDY, rows, results, as_json=as_json)
    if picture is not None:
        write_atomically(picture, predict_picture.draw(rows))


@app.command()
def draw(
    repeats: Repeats = 7,
    results: Results = None,
    as_json: Json = False,
) -> None:
    """Drawing on one core: firing samples, with their gradient, and every synapse.

    Elements (synapses) per second, over plain torch's.

    Examples:
        nsm bench draw --json
    """
    from nsm.studies import draw_speed
    from nsm.training.memory import keep_freed_memory

    keep_freed_memory()  # as nsm train does
    _set_threads(1)
    _report(draw_speed.STUDY, draw_speed.rows(repeats), results, as_json=as_json)


@app.command()
def events(
    repeats: Repeats = 7,
    data_dir: DataDir = None,
    results: Results = None,
    as_json: Json = False,
) -> None:
    """Readers of event recordings and their representations, over tonic's.

    Needs the extra events, and N-MNIST in the data folder. One thread.

    Examples:
        nsm bench events --json
    """
    from nsm.studies import event_speed

    _set_threads(1)
    rows = event_speed.rows(repeats=repeats, root=data_dir)
    _report(event_speed.STUDY, rows, results, as_json=as_json)


@app.command()
def stream(
    seconds: Annotated[
        float, typer.Option(min=0.1, help="Length of the stream whose load is measured.")
    ] = 1.0,
    minutes: Annotated[int, typer.Option(min=1, help="Simulated minutes of the stream of few events.")] = 60,
    repeats: Annotated[int, typer.Option(min=1, help="Measurements of each load; medians count.")] = 5,
    picture: Annotated[
        Path | None,
        typer.Option(help="Also draw them into this PNG file.", dir_okay=False, show_default=False),
    ] = None,
    results: Results = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Events per second with their decisions, latency, memory over an hour.

    nmnist-cnn, untrained, as a program and as a network, on random events
    with a decision every 10 ms. One thread.

    Examples:
        nsm bench stream
        nsm bench stream --results results/stream.json --picture docs/images/stream-speed.png
    """
    from nsm.cli.progress import progress
    from nsm.files import write_atomically
    from nsm.studies import stream_speed

    _set_threads(1)
    with progress(stream_speed.STUDY, quiet=quiet) as show_progress:
        rows = stream_speed.run(seconds=seconds, minutes=minutes, repeats=repeats, progress=show_progress)
    _report(stream_speed.STUDY, rows, results, as_json=as_json, table=stream_speed.table)
    if picture is not None:
        write_atomically(picture, stream_speed.draw(rows))


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _compared(rows: Sequence[Row]) -> _Table:
    cells = []
    for row in rows:
        sides = (f"{row[side]:.4g}" for side in ("ours", "fastest_rival"))
        cells.append((row["name"], *sides, row["unit"], f"{row['ratio']:.2f}", row["threads"]))
    return ("what", "ours", "rival", "unit", "ratio", "threads"), cells


def _report(
    study: str,
    rows: Sequence[Row],
    results: Path | None,
    *,
    as_json: bool,
    table: Callable[[Sequence[Row]], _Table] = _compared,
) -> None:
    """Print what was measured and write the result file, each even if the other fails."""
    from nsm.cli.tables import show
    from nsm.studies.results import write

    try:
        if as_json:
            typer.echo(json.dumps({"study": study, "rows": rows}))
        else:
            headings, cells = table(rows)
            show(headings, cells, texts=(headings[0], "unit"))
    finally:
        if results is not None:
            write(results, study, rows)
