"""``nsm predict``."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from nsm.cli.options import AtFidelity, Confidence, Json, MaxSamples, RunFolder, Samples, Seed


def predict(
    run: RunFolder,
    images: Annotated[list[Path], typer.Argument(help="PNG or JPEG files.", metavar="IMAGE")],
    samples: Samples = None,
    confidence: Confidence = None,
    max_samples: MaxSamples = None,
    program: Annotated[
        Path | None,
        typer.Option(help="Ask this program of nsm compile in the network's place.", show_default=False),
    ] = None,
    fidelity: AtFidelity = None,
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
    information the part of it that comes from their disagreement. A plus
    behind the number of samples says that they do not settle the class.

    Examples:
        nsm predict runs/digits seven.png
        nsm predict runs/digits seven.png --confidence 0.99
        nsm predict runs/digits seven.png --program digits.nsm
        nsm predict runs/mnist-cnn scans/*.png --samples 1000 --json
    """
    import torch

    from nsm import data, engine, inference, training
    from nsm.cli import sampled

    recipe = training.read_recipe(run)
    classes = data.describe(recipe.data.set).classes
    net = sampled.load(run, program, len(classes))
    pixels = torch.stack([data.read_picture(path, net.image, invert=invert) for path in images])
    ask = net.predict if isinstance(net, engine.Program) else partial(inference.predict, net)
    with sampled.at(fidelity, program):
        prediction = ask(
            pixels / 255.0, samples=samples, confidence=confidence, max_samples=max_samples, seed=seed
        )
    for i, path in enumerate(images):
        sampled.check_finite(prediction.probabilities[i], f"{path}: {program or run}")
    assert prediction.reasons is not None
    decided = prediction.probabilities.argmax(1)
    rows = [
        {
            "image": str(path),
            "class": classes[int(decided[i])],
            "probability": float(prediction.probabilities[i, decided[i]]),
            "entropy": float(prediction.entropy[i]),
            "mutual_information": float(prediction.mutual_information[i]),
            "samples": int(prediction.samples_used[i]),
            "reason": inference.Reason(int(prediction.reasons[i])).name.lower(),
            "probabilities": dict(zip(classes, prediction.probabilities[i].tolist(), strict=True)),
        }
        for i, path in enumerate(images)
    ]
    if as_json:
        asked = {"run": str(run), "confidence": confidence, "seed": seed}
        asked |= {} if program is None else {"program": str(program)}
        asked |= {} if fidelity is None else {"fidelity": fidelity}
        typer.echo(json.dumps({**asked, "predictions": rows}))
        return
    from nsm.cli.tables import show

    numbers = ["probability", "entropy", "mutual_information"]
    show(
        ["image", "class", "probability", "entropy", "mutual information", "samples"],
        [
            [row["image"], row["class"], *(f"{row[name]:.3f}" for name in numbers), sampled.used(row)]
            for row in rows
        ],
        texts=("image", "class"),
    )
