"""What a network says of one image while it is turned: class probabilities and entropy against the angle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nsm.report.drawing import CLASSES, SOFT, WIDTH, Canvas, picture

Floats = npt.NDArray[np.floating]

_WITHIN, _BETWEEN = "#b9c4d2", "#33485f"
_LEFT, _RIGHT = 0.125, 0.985
_NAMED = 0.22  # smallest probability of a band that bears its class's name


class Turned(NamedTuple):
    """Predictions for one image at several angles.

    Attributes:
        degrees: (A,), rising.
        images: (A, H, W), the image at each angle, 0 black.
        probabilities: (A, C).
        entropy: (A,), nats.
        mutual_information: (A,), nats.
        samples: of each prediction.
    """

    degrees: Floats
    images: Floats
    probabilities: Floats
    entropy: Floats
    mutual_information: Floats
    samples: int


def rotation(name: str, turned: Turned, classes: Sequence[str], target: int) -> bytes:
    """One network's predictions, as SVG.

    Args:
        name: of the network.
        turned: the predictions.
        classes: names of the C classes.
        target: the true class; its band is the lowest.
    """
    return picture(lambda figure: _draw(figure, name, turned, classes, target), WIDTH, 4.0, constrained=False)


def rotations(turned: Mapping[str, Turned], classes: Sequence[str], target: int) -> bytes:
    """The predictions of several networks, by name, side by side, as PNG."""

    def draw(figure: Figure) -> None:
        parts = figure.subfigures(1, len(turned), squeeze=False)[0]
        for part, (name, one) in zip(parts, turned.items(), strict=True):
            _draw(part, name, one, classes, target)

    return picture(draw, WIDTH * len(turned), 4.0, kind="png", constrained=False)


def _draw(canvas: Canvas, name: str, turned: Turned, classes: Sequence[str], target: int) -> None:
    width = _RIGHT - _LEFT
    strip = canvas.add_axes((_LEFT, 0.83, width, 0.09))
    bands = canvas.add_axes((_LEFT, 0.39, width, 0.425))
    uncertainty = canvas.add_axes((_LEFT, 0.095, width, 0.205))
    title = f"{name}, {turned.samples} samples" if turned.samples > 1 else name
    canvas.text(_LEFT, 0.955, title, fontsize=10, fontweight="bold")
    _images(strip, turned)
    _bands(bands, turned, classes, target)
    _uncertainty(uncertainty, turned)
    span = turned.degrees[-1] - turned.degrees[0]
    margin = 0.04 * span
    for axes in (strip, bands, uncertainty):
        axes.set_xlim(turned.degrees[0] - margin, turned.degrees[-1] + margin)
    ticks = np.linspace(turned.degrees[0], turned.degrees[-1], 7)
    for axes in (bands, uncertainty):
        axes.set_xticks(ticks, [f"{tick:g}°" for tick in ticks])
    bands.set_xticklabels([])


def _images(axes: Axes, turned: Turned) -> None:
    axes.set_axis_off()
    shown = np.linspace(0, len(turned.degrees) - 1, 13).round().astype(int)
    half = 0.47 * (turned.degrees[-1] - turned.degrees[0]) / 12
    for index in shown:
        centre = turned.degrees[index]
        extent = (centre - half, centre + half, 0.0, 1.0)
        axes.imshow(turned.images[index], cmap="gray_r", vmin=0, vmax=1, extent=extent, aspect="auto")
    axes.set_ylim(0.0, 1.0)


def _bands(axes: Axes, turned: Turned, classes: Sequence[str], target: int) -> None:
    order = [target, *(index for index in range(len(classes)) if index != target)]
    colours = [CLASSES[index % len(CLASSES)] for index in order]
    axes.stackplot(
        turned.degrees, turned.probabilities[:, order].T, colors=colours, edgecolor="white", linewidth=0.5
    )
    upper = turned.probabilities[:, order].cumsum(1)
    for place, index in enumerate(order):
        for angle in peaks(turned.probabilities[:, index]):
            middle = upper[angle, place] - turned.probabilities[angle, index] / 2
            name = axes.text(turned.degrees[angle], middle, classes[index], color="white", weight="bold")
            name.set(ha="center", va="center")
    axes.set_ylim(0.0, 1.0)
    axes.set_yticks([0.0, 0.5, 1.0])
    axes.set_ylabel("probability")


def peaks(probabilities: Floats) -> list[int]:
    """Where to name a class: the middle of the highest part of each stretch that is high and wide enough."""
    above = np.flatnonzero(probabilities >= _NAMED)
    least = max(2, len(probabilities) // 24)
    found = []
    for stretch in np.split(above, np.flatnonzero(np.diff(above) > 1) + 1):
        if len(stretch) >= least:
            high = stretch[probabilities[stretch] >= 0.9 * probabilities[stretch].max()]
            middle = int(high[len(high) // 2])
            # A name at the very edge would be cut off.
            found.append(min(max(middle, 1), len(probabilities) - 2))
    return found


def _uncertainty(axes: Axes, turned: Turned) -> None:
    within = turned.entropy - turned.mutual_information
    axes.stackplot(turned.degrees, within, turned.mutual_information, colors=[_WITHIN, _BETWEEN])
    axes.set_ylim(0.0, math.log(turned.probabilities.shape[1]))
    axes.set_ylabel("entropy (nats)")
    axes.grid(axis="y")
    if turned.samples == 1:
        return
    handles = [
        axes.plot([], [], "s", color=colour, label=label)[0]
        for colour, label in ((_WITHIN, "within samples"), (_BETWEEN, "between samples (mutual information)"))
    ]
    axes.legend(
        handles=handles,
        ncols=2,
        loc="lower left",
        bbox_to_anchor=(-0.02, 0.97),
        fontsize=7.5,
        labelcolor=SOFT,
        handletextpad=0.1,
        columnspacing=1.0,
    )
