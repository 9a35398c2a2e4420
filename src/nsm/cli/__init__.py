"""The command ``nsm``: arguments in, thin calls of the library, readable or JSON output.

torch is imported by the commands that need it, when they run: help and mistakes are answered at once.
"""

from __future__ import annotations

import io
import sys
from importlib import metadata
from typing import Annotated

import typer

from nsm.cli import bench, data, reproduce
from nsm.cli.compile import compile  # noqa: A004
from nsm.cli.demo import demo
from nsm.cli.errors import Commands
from nsm.cli.evaluate import evaluate
from nsm.cli.predict import predict
from nsm.cli.stream import stream
from nsm.cli.train import train

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(train)
app.command()(evaluate)
app.command()(predict)
app.command()(stream)
app.command()(compile)
app.command()(demo)
app.add_typer(data.app, name="data")
app.add_typer(reproduce.app, name="reproduce")
app.add_typer(bench.app, name="bench")


def main() -> None:
    """Run the command line of this process."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name may hold bytes that are no text.
        sys.stdout.reconfigure(errors="backslashreplace")
    app()


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"nsm {metadata.version('neural-sampling-machines')}")
        raise typer.Exit


@app.callback()
def _main(
    traceback: Annotated[bool, typer.Option("--traceback", help="Show where an error came from.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train Neural Sampling Machines, and ask them what they are sure of.

    Examples:
        nsm train digits
        nsm evaluate runs/digits --samples 100
        nsm predict runs/digits IMAGE.png
        nsm reproduce digits
    """
