"""One image and the predictive distributions that networks give it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nsm.report import page
from nsm.report.drawing import INK, TRUE, picture
from nsm.report.page import Markup

Floats = npt.NDArray[np.floating]

_LISTED = 5  # classes shown where names are too long to stand side by side


class Answer(NamedTuple):
    """What one network says of an image.

    Attributes:
        name: the network.
        colour: of its bars.
        probabilities: shape (C,).
    """

    name: str
    colour: str
    probabilities: Floats

    def words(self, classes: Sequence[str]) -> str:
        """Its most probable class."""
        best = int(self.probabilities.argmax())
        return f"{self.name}: {classes[best]} ({self.probabilities[best]:.2f})"


def card(
    image: npt.NDArray[np.uint8],
    answers: Sequence[Answer],
    classes: Sequence[str],
    target: int,
    remark: str,
) -> Markup:
    """A figure of an image, the answers of networks to it, and their words.

    Args:
        image: uint8 (C, H, W). One channel, 0 black: dark on light paper; three: in colour; more, such as the
            time bins of a recording: their sum, dark on light.
        answers: at least one.
        classes: names of the C classes.
        target: the true class.
        remark: what else to say.
    """
    words = "; ".join(answer.words(classes) for answer in answers)
    caption = f"True class {classes[target]}. {words}. {remark}"
    return page.figure(
        draw_card(image, answers, classes, target), f"Image of class {classes[target]}", caption
    )


def draw_card(
    image: npt.NDArray[np.uint8], answers: Sequence[Answer], classes: Sequence[str], target: int
) -> bytes:
    """The image beside a bar for each class, or for the most probable ones if their names are long; as SVG.
    The true class's name is bold.
    """

    def draw(figure: Figure) -> None:
        paper = figure.add_axes((0.0, 0.05, 0.26, 0.9))
        if len(image) == 3:
            paper.imshow(image.transpose(1, 2, 0), interpolation="nearest")
        else:
            paper.imshow(image.sum(0), cmap="gray_r", interpolation="nearest")
        paper.set_axis_off()
        if max(map(len, classes)) <= 2:
            axes = figure.add_axes((0.34, 0.18, 0.66, 0.76))
            _upright(axes, answers, classes)
            labels = axes.get_xticklabels()
            shown = list(range(len(classes)))
        else:
            axes = figure.add_axes((0.55, 0.06, 0.44, 0.88))
            shown = _listed(axes, answers, classes)
            labels = axes.get_yticklabels()
        for label, index in zip(labels, shown, strict=True):
            label.set_color(TRUE if index == target else INK)
            label.set_fontweight("bold" if index == target else "normal")

    return picture(draw, 3.4, 1.0, constrained=False)


def _upright(axes: Axes, answers: Sequence[Answer], classes: Sequence[str]) -> None:
    places = np.arange(len(classes))
    width = 0.8 / len(answers)
    for i, answer in enumerate(answers):
        shift = (i - (len(answers) - 1) / 2) * width
        axes.bar(places + shift, answer.probabilities, width, color=answer.colour)
    axes.set_xticks(places, classes, fontsize=8.5 if len(classes) <= 12 else 6)
    axes.tick_params(axis="x", length=0)
    axes.set_yticks([0.0, 0.5, 1.0], ["0", "½", "1"], fontsize=7)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(0.0, 1.0)
    axes.set_xlim(-0.6, len(classes) - 0.4)
    axes.grid(axis="y")
    axes.spines["left"].set_visible(False)


def _listed(axes: Axes, answers: Sequence[Answer], classes: Sequence[str]) -> list[int]:
    largest = np.max([answer.probabilities for answer in answers], axis=0)
    shown = [int(index) for index in np.argsort(-largest, kind="stable")[:_LISTED]]
    height = 0.8 / len(answers)
    places = np.arange(len(shown))
    for i, answer in enumerate(answers):
        shift = (i - (len(answers) - 1) / 2) * height
        axes.barh(places + shift, answer.probabilities[shown], height, color=answer.colour)
    axes.set_yticks(places, [classes[index] for index in shown])
    axes.tick_params(axis="y", length=0)
    axes.set_xticks([0.0, 0.5, 1.0], [""] * 3)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(0.0, 1.0)
    axes.invert_yaxis()
    axes.grid(axis="x")
    axes.spines["bottom"].set_visible(False)
    return shown
