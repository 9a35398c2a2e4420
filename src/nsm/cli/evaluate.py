"""``nsm evaluate``."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from nsm.cli.options import AtFidelity, Confidence, DataDir, Json, MaxSamples, Quiet, RunFolder, Samples, Seed


def evaluate(
    run: RunFolder,
    samples: Samples = None,
    confidence: Confidence = None,
    max_samples: MaxSamples = None,
    fidelity: AtFidelity = None,
    seed: Seed = 0,
    name: Annotated[
        str | None,
        typer.Option("--set", help="Data set.", show_default="that of the training"),
    ] = None,
    program: Annotated[
        Path | None,
        typer.Option(help="Score this program of nsm compile in the network's place.", show_default=False),
    ] = None,
    split: Annotated[Literal["test", "validation"], typer.Option(help="Which images.")] = "test",
    data_dir: DataDir = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Score a trained network by the average of its samples.

    Examples:
        nsm evaluate runs/digits
        nsm evaluate runs/digits --samples 1000 --seed 1 --json
        nsm evaluate runs/digits --split validation
        nsm evaluate runs/digits --confidence 0.99
        nsm evaluate runs/digits --fidelity marginal
        nsm evaluate runs/digits --program digits.nsm --confidence 0.99
    """
    from nsm import data, engine, inference, training
    from nsm.cli import sampled
    from nsm.cli.progress import progress

    recipe = training.read_recipe(run)
    scored = sampled.load(run, program, len(data.describe(recipe.data.set).classes))
    # Another set keeps its own division; the run's own is divided as it was in training.
    own = name in (None, recipe.data.set)
    splits = training.load_splits(recipe, data_dir) if own else data.load(str(name), data_dir)
    images = splits.test if split == "test" else splits.validation
    if not len(images):
        held = "was trained without" if own else "is a set without"
        raise ValueError(f"--split {split}: {run if own else name} {held} images held out for it")
    with sampled.at(fidelity, program), progress("scoring", quiet=quiet) as show:
        score = (
            partial(engine.evaluate, scored)
            if isinstance(scored, engine.Program)
            else partial(inference.evaluate, scored)
        )
        scores = score(
            images,
            samples=samples,
            confidence=confidence,
            max_samples=max_samples,
            seed=seed,
            progress=show,
        )
    if as_json:
        described = {
            "run": str(run),
            "set": images.name,
            "split": split,
            "confidence": confidence,
            "seed": seed,
        }
        described |= {} if program is None else {"program": str(program)}
        described |= {} if fidelity is None else {"fidelity": fidelity}
        typer.echo(json.dumps(described | scores.to_dict()))
        return
    from nsm.cli.tables import show as show_table

    show_table(
        ["samples", "error (%)", "NLL (nats)", "ECE"],
        [
            *(
                (point.samples, f"{point.error_percent:.2f}", f"{point.nll:.4f}", "")
                for point in scores.curve[:-1]
            ),
            (
                scores.samples if isinstance(scores.samples, int) else f"{scores.samples:.2f}",
                f"{scores.error_percent:.2f}",
                f"{scores.nll:.4f}",
                f"{scores.ece:.4f}",
            ),
        ],
        title=f"{program or run}: {scores.n:,} {split} images of {data.SETS[images.name].title}",
    )
