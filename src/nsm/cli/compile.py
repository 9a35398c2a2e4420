"""``nsm compile``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from nsm.cli.options import RunFolder


def compile(  # noqa: A001 (the command's name)
    run: RunFolder,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Program file.", dir_okay=False, show_default="RUN/program.nsm"),
    ] = None,
    weights: Annotated[
        Literal["int8", "int4", "ternary", "binary"], typer.Option(help="Precision of the weights.")
    ] = "int8",
    fidelity: Annotated[
        Literal["moment", "synapse"] | None,
        typer.Option(
            help="One draw for a neuron, or for every synapse (slower).", show_default="the layers' own"
        ),
    ] = None,
) -> None:
    """Turn a trained network into a program of small integers.

    The program samples many times faster than the network; score it with
    nsm evaluate RUN --program FILE.

    Examples:
        nsm compile runs/digits -o digits.nsm
        nsm compile runs/mnist-cnn --weights int4
        nsm compile runs/mnist-cnn --fidelity synapse -o exact.nsm
    """
    from nsm import engine, models

    program = engine.compile(models.load(run), weights=weights, fidelity=fidelity)
    path = output or run / "program.nsm"
    program.save(path)
    typer.echo(f"{path}: {len(program.steps)} steps, {weights} weights, {path.stat().st_size:,} bytes")
