"""What compiling costs in accuracy: a trained network beside its programs, on all test images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from nsm import engine, evaluate, models, training
from nsm.engine import files
from nsm.inference import Evaluation

STUDY = "compiled"


def run(
    folder: Path,
    *,
    samples: int | None = None,
    seed: int = 0,
    root: Path | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[dict[str, Any]]:
    """Rows for a trained network and for its program in every precision.

    Args:
        folder: run folder of a training.
        samples: samples of each image; None for 100.
        seed: of the samples.
        root: data folder, see :func:`nsm.data.load`.
        progress: called with the number of things scored and of all.
    """
    net, recipe = models.load(folder), training.read_recipe(folder)
    images = training.load_splits(recipe, root).test
    described = {"network": net.config["name"], "set": images.name, "seed": seed}
    rows = [described | _scores("network", evaluate(net, images, samples=samples, seed=seed))]
    for done, precision in enumerate(engine.PRECISIONS, 1):
        if progress is not None:
            progress(done, 1 + len(engine.PRECISIONS))
        program = engine.compile(net, weights=precision)
        scores = engine.evaluate(program, images, samples=samples, seed=seed)
        size = len(files.to_bytes(program.steps, vector=program.vector))
        rows.append(described | _scores(precision, scores) | {"bytes": size})
    return rows


def _scores(what: str, scores: Evaluation) -> dict[str, Any]:
    kept = ("error_percent", "nll", "ece", "mutual_information", "samples", "n")
    return {"what": what, **{name: getattr(scores, name) for name in kept}}
