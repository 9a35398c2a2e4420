"""``nsm predict``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from nsm.cli.options import Json, RunFolder, Samples, Seed


def predict(
    run: RunFolder,
    images: Annotated[list[Path], typer.Argument(help="PNG or JPEG files.", metavar="IMAGE")],
    samples: Samples = 100,
    seed: Seed = 0,
    invert: Annotated[
        bool | None,
        typer.Option(
            "--invert/--no-invert",
            help="Whether the drawing is dark on light.",
            show_default="judged by each image's border",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Ask a trained network what images show, and how sure it is.

    Entropy (in nats) is the uncertainty of the averaged samples, mutual
    information the part of it that comes from their disagreement.

    Examples:
        nsm predict runs/digits seven.png
        nsm predict runs/mnist-cnn scans/*.png --samples 1000 --json
    """
    import torch

    from nsm import data, inference, models, training

    net, recipe = models.load(run), training.read_recipe(run)
    classes = data.describe(recipe.data.set).classes
    pixels = torch.stack([data.read_picture(path, net.image, invert=invert) for path in images])
    prediction = inference.predict(net, pixels / 255.0, samples=samples, seed=seed)
    decided = prediction.probabilities.argmax(1)
    rows = [
        {
            "image": str(path),
            "class": classes[int(decided[i])],
            "probability": float(prediction.probabilities[i, decided[i]]),
            "entropy": float(prediction.entropy[i]),
            "mutual_information": float(prediction.mutual_information[i]),
            "probabilities": dict(zip(classes, prediction.probabilities[i].tolist(), strict=True)),
        }
        for i, path in enumerate(images)
    ]
    used = int(prediction.samples_used[0])
    if as_json:
        typer.echo(json.dumps({"run": str(run), "samples": used, "seed": seed, "predictions": rows}))
        return
    from nsm.cli.tables import show

    numbers = ["probability", "entropy", "mutual_information"]
    show(
        ["image", "class", "probability", "entropy", "mutual information"],
        [[row["image"], row["class"], *(f"{row[name]:.3f}" for name in numbers)] for row in rows],
        texts=("image", "class"),
    )
