"""Simulated saccades beside the real recordings of the same images."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from torch import Tensor

from nsm import data
from nsm.data import DataError
from nsm.data import events as ev
from nsm.data.events import Events
from nsm.data.simulated import NMNIST_LIKE, Saccades, simulate
from nsm.report.drawing import NSM, SOFT, picture
from nsm.studies.saccades_fit import Statistics, fit, statistics

STUDY = "saccades"
_SHOWN = 3  # recordings in the picture


class Pairs(NamedTuple):
    """Real recordings and the images that were before the camera.

    Attributes:
        images: uint8 (N, 1, 28, 28).
        recorded: the recording of each.
    """

    images: Tensor
    recorded: list[Events]


class Comparison(NamedTuple):
    """What is compared.

    Attributes:
        pairs: images and real recordings.
        simulated: a simulated recording of each image.
        saccades: how they were made.
        seed: seed of the simulation.
    """

    pairs: Pairs
    simulated: list[Events]
    saccades: Saccades
    seed: int


def pairs(root: Path | None = None) -> Pairs:
    """The N-MNIST training recordings of the data folder with their MNIST images; file 00001 is image 0.

    Raises:
        DataError: if a set is missing, or a digit is not that of its image.
    """
    recordings = ev.nmnist("train", root)
    mnist = data.load("mnist", root, validation=0).train
    numbers = np.array([int(item.path.stem) - 1 for item in recordings.items])
    if numbers.max() >= len(mnist) or (mnist.targets.numpy()[numbers] != recordings.targets).any():
        raise DataError(f"{recordings.items[0].path.parents[1]}: names are not the numbers of MNIST's images")
    return Pairs(mnist.images[numbers], [events for events, _ in recordings])


def run(root: Path | None = None, *, seed: int = 0, fitted: bool = False, stride: int = 32) -> Comparison:
    """Simulate every image that was recorded.

    Args:
        root: data folder, see :func:`nsm.data.load`.
        seed: seed of the simulation.
        fitted: fit the parameters first, instead of taking those that come with the library.
        stride: every so many recordings take part in the fit.
    """
    found = pairs(root)
    saccades = fit(*found, NMNIST_LIKE, seed=seed, stride=stride) if fitted else NMNIST_LIKE
    return Comparison(found, list(simulate(found.images, seed=seed, saccades=saccades)), saccades, seed)


def rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row for each statistic, and one with the parameters."""
    recorded, simulated = (
        statistics(side).numbers() for side in (comparison.pairs.recorded, comparison.simulated)
    )
    described = {"recordings": len(comparison.simulated), "seed": comparison.seed}
    return [
        {"name": name, "recorded": value, "simulated": simulated[name], **described}
        for name, value in recorded.items()
    ] + [{"name": "parameters", **vars(comparison.saccades), **described}]


def draw(comparison: Comparison) -> bytes:
    """Distributions of real and simulated recordings, and some of both, as PNG."""
    sides = (
        (f"{len(comparison.simulated)} recorded", SOFT, statistics(comparison.pairs.recorded)),
        ("simulated from the same images", NSM, statistics(comparison.simulated)),
    )

    def panels(figure: Figure) -> None:
        halves = figure.add_gridspec(2, 1, height_ratios=(2.4, 1.0))
        above, below = (figure.add_subfigure(halves[i]) for i in range(2))
        grid = above.subplots(2, 3)
        _events(grid[0, 0], sides)
        _over_time(grid[0, 1], sides)
        _polarity(grid[0, 2], sides)
        _saccades(grid[1, 0], sides)
        _per_pixel(grid[1, 1], sides)
        _gaps(grid[1, 2], sides)
        axes = below.subplots(1, 2 * _SHOWN)
        step = len(comparison.simulated) // _SHOWN
        for i in range(_SHOWN):
            _image(axes[2 * i], comparison.pairs.recorded[i * step + step // 2], "recorded")
            _image(axes[2 * i + 1], comparison.simulated[i * step + step // 2], "simulated")

    return picture(panels, 9.0, 6.4, kind="png")


_Sides = tuple[tuple[str, str, Statistics], ...]


def _events(axes: Axes, sides: _Sides) -> None:
    bins = np.linspace(0, max(int(side.events.max()) for _, _, side in sides), 30).tolist()
    for name, colour, side in sides:
        axes.hist(side.events, bins, histtype="step", color=colour, label=name, linewidth=1.6)
    axes.set_title("Events of a recording")
    axes.set_ylabel("recordings")
    axes.set_ylim(0, 1.45 * axes.get_ylim()[1])
    axes.legend(loc="upper left", fontsize=7, borderaxespad=0.0)


def _over_time(axes: Axes, sides: _Sides) -> None:
    for name, colour, side in sides:
        axes.plot(np.arange(64) * 5 + 2.5, side.per_time, color=colour, label=name)
    axes.set_title("Events in 5 ms")
    axes.set_xlabel("ms")
    axes.set_ylim(bottom=0)


def _polarity(axes: Axes, sides: _Sides) -> None:
    for i, (_, colour, side) in enumerate(sides):
        axes.bar(np.arange(3) + 0.4 * i - 0.2, 100 * side.on, 0.36, color=colour)
    axes.set_xticks(range(3), ["1", "2", "3"])
    axes.set_title("ON events (%)")
    axes.set_xlabel("saccade")


def _saccades(axes: Axes, sides: _Sides) -> None:
    for i, (_, colour, side) in enumerate(sides):
        axes.bar(np.arange(3) + 0.4 * i - 0.2, side.saccades, 0.36, color=colour)
    axes.set_xticks(range(3), ["1", "2", "3"])
    axes.set_title("Events of a saccade")
    axes.set_xlabel("saccade")


def _per_pixel(axes: Axes, sides: _Sides) -> None:
    most = max(int(side.per_pixel.max()) for _, _, side in sides)
    for _, colour, side in sides:
        share = np.bincount(side.per_pixel.ravel(), minlength=most + 1) / side.per_pixel.size
        axes.plot(share, color=colour, drawstyle="steps-mid")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_title("Events of a pixel")
    axes.set_ylabel("share of pixels")


def _gaps(axes: Axes, sides: _Sides) -> None:
    bins = np.geomspace(300, 320_000, 60)
    for _, colour, side in sides:
        share = np.histogram(side.gaps, bins)[0] / len(side.gaps)
        axes.stairs(share, bins / 1000, color=colour, linewidth=1.6)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_title("Between events of a pixel")
    axes.set_xlabel("ms")


def _image(axes: Axes, events: Events, title: str) -> None:
    """The first saccade: ON less OFF events."""
    part = events[events["t"] < 100_000]
    image = np.zeros((34, 34))
    np.add.at(image, (part["y"], part["x"]), np.where(part["p"], 1.0, -1.0))
    axes.imshow(image, cmap="RdBu_r", vmin=-6, vmax=6, interpolation="nearest")
    axes.set_axis_off()
    axes.set_title(title, fontsize=7.5, fontweight="normal", color=SOFT if title == "recorded" else NSM)
