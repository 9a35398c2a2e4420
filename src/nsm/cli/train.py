"""``nsm train``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nsm.cli.options import DataDir, Quiet, Samples

_RECIPES = Path(__file__).parents[1] / "training" / "recipes"  # listed without importing torch
_NAMES = ", ".join(sorted(path.stem for path in _RECIPES.glob("*.toml")))


def train(
    recipe: Annotated[
        str, typer.Argument(help=f"One of {_NAMES}; or the path of a .toml file.", metavar="RECIPE")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Fields of the recipe to change.", metavar="FIELD=VALUE", show_default=False),
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Run folder.", show_default="runs/RECIPE")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the folder.")] = False,
    data_dir: DataDir = None,
    quiet: Quiet = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write a TensorBoard log into the run folder.")
    ] = False,
    samples: Samples = None,
) -> None:
    """Train a network, score it on the test images and write a report.

    Ctrl-C stops after the current step and leaves a checkpoint. The same
    command with --resume goes on from there, to the same weights.

    Examples:
        nsm train digits
        nsm train digits epochs=20 lr=1e-3 noise=gaussian:0.7
        nsm train mnist-cnn model=twin --run runs/twin
        nsm train mnist-cnn --resume
    """
    from nsm import report, training
    from nsm.cli.progress import progress
    from nsm.inference import evaluate
    from nsm.training.memory import keep_freed_memory
    from nsm.training.processes import is_first

    keep_freed_memory()
    config = training.with_overrides(training.load_recipe(recipe), overrides or [])
    folder = run or Path("runs") / Path(recipe).stem
    result = training.train(
        config, folder, root=data_dir, resume=resume, quiet=quiet, tensorboard=tensorboard
    )
    if not is_first():
        return
    images = training.load_splits(config, data_dir).test
    with progress("scoring", quiet=quiet) as show:
        scores = evaluate(result.net, images, samples=samples, progress=show)
    path = report.write_run_report(result, scores, images)
    typer.echo(f"{folder.name}: {report.summary(scores)}; {path}")
