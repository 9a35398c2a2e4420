"""``nsm reproduce all``: the published tables, figures and claims, in order."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from nsm.cli.options import DataDir, Quiet
from nsm.cli.reproduce_claims import convergence, normalization
from nsm.cli.reproduce_events import dvsgesture, nmnist
from nsm.cli.reproduce_images import cifar10, fashion_mnist, mnist, training_methods
from nsm.cli.studies import Epochs, Processes

# By the folder of their runs, what takes least time first.
STUDIES: Mapping[str, tuple[str, Callable[..., None]]] = {
    "normalization": ("normalization", normalization),
    "convergence": ("convergence", convergence),
    "nmnist": ("nmnist", nmnist),
    "mnist": ("mnist", mnist),
    "training-methods": ("mnist", training_methods),
    "fashion-mnist": ("fashion-mnist", fashion_mnist),
    "dvsgesture": ("dvsgesture", dvsgesture),
    "cifar10": ("cifar10", cifar10),
}


def all_studies(
    runs: Annotated[Path, typer.Option(help="Folder of the studies' own folders.")] = Path("runs"),
    epochs: Epochs = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, help="Seeds 0 to SEEDS - 1.", show_default="each study's")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Every study, but as small as it can be: some minutes.")
    ] = False,
    processes: Processes = 1,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Every published table and claim, one study after the other.

    normalization, convergence, nmnist, mnist, training-methods, fashion-mnist,
    dvsgesture, cifar10. Weeks. What was interrupted is continued, what is
    finished is used again; a study whose data cannot be had is left out, and
    named at the end.

    Examples:
        nsm reproduce all --quick
        nsm reproduce all --seeds 1 --processes 2
    """
    from nsm.data import DataError

    asked = {
        "epochs": epochs, "seeds": seeds, "quick": quick, "processes": processes,
        "data_dir": data_dir, "quiet": quiet,
    }  # fmt: skip
    left_out: dict[str, str] = {}
    for name, (folder, command) in STUDIES.items():
        typer.echo(f"== {name}")
        known = inspect.signature(command).parameters
        options: dict[str, Any] = {
            key: value for key, value in asked.items() if key in known and value is not None
        }
        try:
            command(runs=runs / folder, **options)
        except DataError as error:
            left_out[name] = str(error)
    for name, reason in left_out.items():
        typer.echo(f"left out: {name}: {reason}", err=True)
    if left_out:
        raise typer.Exit(1)
