"""``nsm demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nsm.cli.options import Quiet


def demo(
    run: Annotated[
        Path | None,
        typer.Argument(
            help="Run folder of nsm train: of digits, letters or N-MNIST.",
            metavar="RUN",
            show_default="small networks, trained at the first call",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any that is free.")] = 7860,
    quiet: Quiet = False,
) -> None:
    r"""Open a web page: draw a digit, turn it, and see the samples vote.

    A second tab plays recordings of an event camera. The page is served to
    this machine alone and loads nothing from elsewhere. It needs the extra:
    pip install 'neural-sampling-machines\[demo]'.

    Examples:
        nsm demo
        nsm demo runs/mnist-cnn --port 8000
    """
    from nsm import demo as room

    room.check_installed()
    from nsm.demo.subject import subjects

    # A port that is taken is told before networks are trained.
    with room.bound(port) as listener:
        found = subjects(run, Path("runs/demo"), quiet=quiet)
        room.serve(found, listener, ready=lambda url: typer.echo(f"{url} (stop it by Ctrl-C)"))
