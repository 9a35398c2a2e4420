"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunFolder = Annotated[Path, typer.Argument(help="Run folder of nsm train.", metavar="RUN")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Data folder, laid out as torchvision's.",
        show_default="NSM_DATA, else a folder in the user's cache",
    ),
]
Samples = Annotated[int, typer.Option(min=1, help="Monte Carlo samples of each image.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the samples.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")]
