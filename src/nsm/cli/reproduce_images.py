"""``nsm reproduce``, comparisons on sets of images: one command for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from nsm.cli.options import DataDir, Json, Quiet, Samples
from nsm.cli.studies import Epochs, Picture, Processes, Results, Seeds, cell, measured
from nsm.files import write_atomically

Networks = Annotated[
    list[str] | None,
    typer.Option("--network", help="Only this network; may be repeated.", show_default="all"),
]
Kinds = Annotated[
    list[str] | None, typer.Option("--kind", help="Only this kind; may be repeated.", show_default="all")
]
Quick = Annotated[bool, typer.Option("--quick", help="Few images, one epoch: a minute or two.")]
Runs = Annotated[Path, typer.Option(help="Folder of runs, results and report.")]


def mnist(
    runs: Runs = Path("runs/mnist"),
    network: Networks = None,
    kind: Kinds = None,
    seeds: Seeds = 3,
    epochs: Epochs = None,
    samples: Samples = None,
    quick: Quick = False,
    processes: Processes = 1,
    data_dir: DataDir = None,
    results: Results = None,
    picture: Picture = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """The published comparison on MNIST: NSM, twin, other ways of training.

    Hours on two cores. What was interrupted is continued, what is finished
    is used again. Kinds: bnsm, gnsm, twin; of the convolutional network also
    bnsm-marginal, which learns what samples average to, bnsm-population, with
    eight neurons in each place, bn, sn, ste, wbd and bd.

    Examples:
        nsm reproduce mnist --processes 2
        nsm reproduce mnist --network mnist-cnn --kind bnsm --kind twin --seeds 1 --epochs 2
    """
    _compare(
        "mnist", runs, network, kind, seeds, epochs, samples, processes, data_dir, results, picture,
        quick=quick, quiet=quiet, as_json=as_json,
    )  # fmt: skip


def training_methods(
    runs: Runs = Path("runs/mnist"),
    kind: Kinds = None,
    seeds: Seeds = 3,
    epochs: Epochs = None,
    samples: Samples = None,
    quick: Quick = False,
    processes: Processes = 1,
    data_dir: DataDir = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Result file.", dir_okay=False, show_default="RUNS/training-methods.json"),
    ] = None,
    picture: Picture = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """The published ways of training one network on MNIST.

    Part of nsm reproduce mnist, whose runs it shares. Kinds: bnsm, gnsm, bn,
    sn, ste, wbd, bd.

    Examples:
        nsm reproduce training-methods --processes 2
        nsm reproduce training-methods --kind bnsm --kind ste --seeds 1
    """
    _compare(
        "training-methods", runs, None, kind, seeds, epochs, samples, processes, data_dir, results, picture,
        quick=quick, quiet=quiet, as_json=as_json,
    )  # fmt: skip


def fashion_mnist(
    runs: Runs = Path("runs/fashion-mnist"),
    network: Networks = None,
    kind: Kinds = None,
    seeds: Seeds = 3,
    epochs: Epochs = None,
    samples: Samples = None,
    quick: Quick = False,
    processes: Processes = 1,
    data_dir: DataDir = None,
    results: Results = None,
    picture: Picture = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """NSM and twin on Fashion-MNIST, by the recipes of MNIST.

    Hours on two cores. Kinds: bnsm, gnsm, bnsm-marginal, bnsm-population, twin.

    Examples:
        nsm reproduce fashion-mnist --quick
        nsm reproduce fashion-mnist --network mnist-cnn --seeds 1 --processes 2
    """
    _compare(
        "fashion-mnist", runs, network, kind, seeds, epochs, samples, processes, data_dir, results, picture,
        quick=quick, quiet=quiet, as_json=as_json,
    )  # fmt: skip


def cifar10(
    runs: Runs = Path("runs/cifar10"),
    network: Networks = None,
    kind: Kinds = None,
    seeds: Seeds = 1,
    epochs: Epochs = None,
    samples: Samples = None,
    quick: Quick = False,
    processes: Processes = 1,
    data_dir: DataDir = None,
    results: Results = None,
    picture: Picture = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """The published comparison on CIFAR-10: the all-convolutional NSM and its twin.

    Weeks by the published protocol of 300 epochs. Also a third as wide, and a
    residual network. Kinds: bnsm, bnsm-from-twin, twin; of the published width
    gnsm and gnsm-from-twin; bnsm-marginal, which learns what samples average
    to; bnsm-population, with eight neurons in each place. Those from the
    trained twin start with what it knows, so it is trained first.

    Examples:
        nsm reproduce cifar10 --quick
        nsm reproduce cifar10 --network cifar10-allconv --kind bnsm --kind twin --epochs 40
        nsm reproduce cifar10 --network cifar10-allconv-third --processes 2
    """
    _compare(
        "cifar10", runs, network, kind, seeds, epochs, samples, processes, data_dir, results, picture,
        quick=quick, quiet=quiet, as_json=as_json,
    )  # fmt: skip


def _compare(
    study: str,
    runs: Path,
    networks: list[str] | None,
    kinds: list[str] | None,
    seeds: int,
    epochs: int | None,
    samples: int | None,
    processes: int,
    data_dir: Path | None,
    results: Path | None,
    picture: Path | None,
    *,
    quick: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    from nsm.cli.tables import show
    from nsm.report import REPORT_FILE
    from nsm.studies import images, images_report
    from nsm.studies.comparisons import COMPARISONS

    comparison = COMPARISONS[study]
    size = images.QUICK if quick else images.Size()
    size = size._replace(epochs=epochs or size.epochs, samples=samples or size.samples)
    folder = runs / "quick" if quick else runs
    jobs = comparison.jobs(
        folder, networks=networks, kinds=kinds, seeds=1 if quick else seeds,
        epochs=size.epochs, images=size.images,
    )  # fmt: skip
    # The runs of training-methods are those of mnist, whose results lie there under the usual names.
    shared = study == "training-methods"
    path = results or folder / (f"{study}.json" if shared else "results.json")
    page = folder / (f"{study}.html" if shared else REPORT_FILE)
    rows = measured(jobs, images.scoring(size), study, path, processes, data_dir, quiet=quiet)
    write_atomically(page, images_report.report(comparison, rows, jobs).encode())
    if picture is not None:
        write_atomically(picture, images_report.draw(comparison, rows, jobs))
    if as_json:
        typer.echo(json.dumps({"study": study, "rows": rows}))
        return
    headings = ("network", "kind", "epochs", "error, %", "spread", "runs", "published, %")
    keys = ("network", "title", "epochs", "mean", "spread", "count", "published")
    cells = [[cell(row[key]) for key in keys] for row in comparison.table(rows)]
    show(headings, cells, texts=headings[:2])
    typer.echo(f"Report: {page}")
