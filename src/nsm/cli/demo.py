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
            help="Run folder of nsm train, of digits or letters.",
            metavar="RUN",
            show_default="a small network, trained in seconds",
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any that is free.")] = 7860,
    quiet: Quiet = False,
) -> None:
    """Open a web page: draw a digit, turn it, and see the samples vote.

    The page is served to this machine alone and loads nothing from elsewhere.
    It needs the extra: pip install 'neural-sampling-machines[demo]'.

    Examples:
        nsm demo
        nsm demo runs/mnist-cnn --port 8000
    """
    from nsm import demo as room

    room.check_installed()
    from nsm.demo.subject import bundled_subject, load_subject

    subject = bundled_subject(Path("runs/demo"), quiet=quiet) if run is None else load_subject(run)
    room.serve(
        subject, port=port, ready=lambda url: typer.echo(f"{subject.title}: {url} (stop it by Ctrl-C)")
    )
