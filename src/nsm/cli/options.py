"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

RunFolder = Annotated[Path, typer.Argument(help="Run folder of nsm train.", metavar="RUN")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Data folder, laid out as torchvision's.",
        show_default="NSM_DATA, else a folder in the user's cache",
    ),
]
Samples = Annotated[
    int | None, typer.Option(min=1, help="Monte Carlo samples of each image.", show_default="100")
]
Confidence = Annotated[
    float | None,
    typer.Option(
        help="Sample each image until its class is settled, in place of --samples.",
        show_default=False,
        metavar="0..1",
    ),
]
MaxSamples = Annotated[
    int | None,
    typer.Option(min=1, help="Most samples of an image, with --confidence.", show_default="1000"),
]
AtFidelity = Annotated[
    Literal["moment", "synapse", "unit", "mean", "marginal", "threshold"] | None,
    typer.Option(
        "--fidelity",
        help="How much of the physics is drawn; mean, marginal and threshold need one pass.",
        show_default="as the network was built",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the samples.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress bar.")]
