"""What compiling costs in accuracy: trained networks beside their programs, on all test images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from nsm import engine, evaluate, models, training
from nsm.data import ImageSet
from nsm.engine import files
from nsm.inference import Evaluation
from nsm.studies.results import Row

STUDY = "compiled"
NETWORK, AGAIN = "network", "network, drawn again"
# A program draws other numbers than its network: what that alone changes, the network drawn again tells.
COMPARED = (NETWORK, AGAIN, *engine.PRECISIONS)


def run(
    folders: Sequence[Path],
    *,
    samples: int | None = None,
    seed: int = 0,
    root: Path | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[dict[str, Any]]:
    """Rows for trained networks, each drawn twice, and for their programs in every precision.

    Args:
        folders: run folders of trainings of one network on one set of images.
        samples: samples of each image; None for 100.
        seed: of the samples; those drawn again have the next one.
        root: data folder, see :func:`nsm.data.load`.
        progress: called with the number of things scored and of all.

    Raises:
        ValueError: if networks or sets differ, or a folder is given twice.
    """
    for folder, many in Counter(folder.resolve() for folder in folders).items():
        if many > 1:
            raise ValueError(f"runs must differ, got {folder.name} {many} times")
    trained = [(models.load(folder), training.read_recipe(folder)) for folder in folders]
    kinds = {(net.config["name"], recipe.data.set) for net, recipe in trained}
    if len(kinds) > 1:
        given = ", ".join(f"{name} on {images}" for name, images in sorted(kinds))
        raise ValueError(f"runs must be of one network and one set of images, got {given}")
    rows = list[dict[str, Any]]()
    for number, (net, recipe) in enumerate(trained):
        images = training.load_splits(recipe, root).test
        described = {
            "network": net.config["name"],
            "set": images.name,
            "trained_seed": recipe.training.seed,
            "run": number,
        }
        for row in _compared(net, images, samples, seed):
            rows.append(described | row)
            if progress is not None:
                progress(len(rows), len(trained) * len(COMPARED))
    return rows


def _compared(
    net: models.Network, images: ImageSet, samples: int | None, seed: int
) -> Iterator[dict[str, Any]]:
    for what, drawn in ((NETWORK, seed), (AGAIN, seed + 1)):
        scores = evaluate(net, images, samples=samples, seed=drawn)
        yield {"what": what, "seed": drawn, **_scores(scores)}
    for precision in engine.PRECISIONS:
        program = engine.compile(net, weights=precision)
        scores = engine.evaluate(program, images, samples=samples, seed=seed)
        size = len(files.to_bytes(program.steps, vector=program.vector))
        yield {"what": precision, "seed": seed, **_scores(scores), "bytes": size}


def _scores(scores: Evaluation) -> dict[str, Any]:
    kept = ("error_percent", "nll", "ece", "mutual_information", "samples", "n")
    return {name: getattr(scores, name) for name in kept}


def table(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Headings and lines of a table: means over the networks, and how much more often than its network each
    program errs, with the standard error of that mean where there are several networks.
    """
    headings = ["weights", "error, %", "more than the network, %", "NLL", "ECE", "bytes", "networks"]
    errors = {row["run"]: row["error_percent"] for row in rows if row["what"] == NETWORK}
    lines = []
    for what in dict.fromkeys(row["what"] for row in rows):
        ours = [row for row in rows if row["what"] == what]
        more = [row["error_percent"] - errors[row["run"]] for row in ours]
        apart = f"{mean(more):+.3f}"
        if len(more) > 1:
            apart += f" +- {stdev(more) / math.sqrt(len(more)):.3f}"
        lines.append(
            [
                f"{what}, float32" if what == NETWORK else what,
                f"{mean(row['error_percent'] for row in ours):.3f}",
                "" if what == NETWORK else apart,
                *(f"{mean(row[score] for row in ours):.4f}" for score in ("nll", "ece")),
                f"{mean(row['bytes'] for row in ours):,.0f}" if "bytes" in ours[0] else "",
                str(len(ours)),
            ]
        )
    return headings, lines
