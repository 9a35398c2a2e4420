"""The demonstration: a Neural Sampling Machine and its conventional twin learn the bundled digits, and are
asked what they are sure of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from nsm import data, evaluate, predict
from nsm.data import ImageSet
from nsm.files import write_atomically
from nsm.models import Model, Network
from nsm.report import REPORT_FILE, Comparison, Side, Turned, comparison_report, rotations
from nsm.report.drawing import NSM, TWIN
from nsm.studies import results
from nsm.studies.origin import origin
from nsm.studies.results import Row
from nsm.training import Config, augment, load_recipe, train, with_overrides
from nsm.training.checkpoint import versions

STUDY = "digits"
SAMPLES = 100
RESULTS_FILE = "results.json"
_SEED = 0
_TURNED_CLASS = 3  # on its way round it looks like several other digits
_STEP = 5  # degrees
# How many samples each network is scored with.
_SIDES: Mapping[Model, tuple[int, ...]] = {"nsm": (SAMPLES, 1), "twin": (1,)}


class Demonstration(NamedTuple):
    """What the demonstration found.

    Attributes:
        rows: scores of each network for each number of samples.
        comparison: the content of the page.
        report: the page.
    """

    rows: list[Row]
    comparison: Comparison
    report: Path

    def picture(self) -> bytes:
        """The turned digit in the eyes of both networks, as PNG."""
        sides, images, target = self.comparison.sides, self.comparison.images, self.comparison.target
        names = ("Neural Sampling Machine", "Its conventional twin")
        return rotations(
            {name: side.turned for name, side in zip(names, sides, strict=True)}, images.classes, target
        )


def run(folder: Path, *, epochs: int | None = None, quiet: bool = False) -> Demonstration:
    """Train both networks, or take what was trained before, and write ``report.html`` and ``results.json``.

    Args:
        folder: holds the files and the two run folders, whose names depend on the whole configuration: a run
            of another one stays where it is.
        epochs: None for the recipe's.
        quiet: show no progress bar.
    """
    images = data.load(STUDY).test
    place = int(torch.nonzero(images.targets == _TURNED_CLASS)[0])
    sides, rows = [], []
    for model, numbers in _SIDES.items():
        config = configuration(model, epochs=epochs)
        result = train(config, run_folder(folder, config), resume=True, quiet=quiet)
        net = result.net
        scores = tuple(evaluate(net, images, samples=number, seed=_SEED) for number in numbers)
        side = Side(
            name="NSM" if model == "nsm" else "Twin",
            colour=NSM if model == "nsm" else TWIN,
            colour_name="blue" if model == "nsm" else "orange",
            parameters=sum(parameter.numel() for parameter in net.parameters()),
            scores=scores,
            epochs=result.metrics,
            turned=turn(net, images, place),
        )
        sides.append(side)
        rows += _rows(config, side)
    comparison = _comparison(sides, images, configuration("nsm", epochs=epochs))
    results.write(folder / RESULTS_FILE, STUDY, rows)
    report = folder / REPORT_FILE
    write_atomically(report, comparison_report(comparison).encode())
    return Demonstration(rows, comparison, report)


def configuration(model: Model, *, epochs: int | None = None) -> Config:
    """The recipe of the bundled digits with one kind of neuron."""
    overrides = [f"model={model}"]
    if epochs is not None:
        overrides.append(f"epochs={epochs}")
    return with_overrides(load_recipe(STUDY), overrides)


def run_folder(folder: Path, config: Config) -> Path:
    """Where a run lies: named after its configuration and the versions on which its bits depend."""
    text = json.dumps([config.to_dict(), versions()], sort_keys=True)
    return folder / f"{config.network.model}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def turn(net: Network, images: ImageSet, place: int) -> Turned:
    """What ``net`` says of the image number ``place`` at every angle from 0 to 180 degrees."""
    degrees = torch.arange(0.0, 180.0 + _STEP, _STEP)
    pixels, _ = images.batch(torch.full((len(degrees),), place))
    turned = augment.apply(pixels, augment.rotations(degrees, net.image[1:]))
    said = predict(net, turned, samples=SAMPLES, seed=_SEED)
    return Turned(
        degrees=degrees.numpy(),
        images=turned[:, 0].numpy(),
        probabilities=said.probabilities.numpy(),
        entropy=said.entropy.numpy(),
        mutual_information=said.mutual_information.numpy(),
        samples=int(said.samples_used[0]),
    )


def _rows(config: Config, side: Side) -> list[Row]:
    return [
        {
            "network": config.network.name,
            "model": config.network.model,
            "seed": config.training.seed,
            "epochs": len(side.epochs),
            "parameters": side.parameters,
            "samples": scores.samples,
            "n": scores.n,
            "error_percent": scores.error_percent,
            "nll": scores.nll,
            "ece": scores.ece,
        }
        for scores in side.scores
    ]


def _comparison(sides: list[Side], images: ImageSet, config: Config) -> Comparison:
    lead = (
        f"Two networks of the same shape ({config.network.name}) learnt small handwritten digits by the same "
        "recipe. In the Neural Sampling Machine (NSM) every synapse is noisy and every neuron fires or does "
        f"not: asked {SAMPLES} times, it gives {SAMPLES} answers, and their average says how sure it is. Its "
        "twin has rectifiers and no noise, and gives one answer."
    )
    written = origin(seed=config.training.seed)
    return Comparison("A Neural Sampling Machine and its twin", lead, sides, images, _TURNED_CLASS, written)
