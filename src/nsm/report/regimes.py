"""Networks that learnt from different things, judged on the same recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from nsm.report import page
from nsm.report.distribution import Answer, card
from nsm.report.drawing import INK, SOFT, picture
from nsm.report.words import WRITTEN_BY

_DASHES = ((0, (1, 1.5)), (0, (4, 2)), "-")
_SHOWN = 8  # recordings in the picture


class Regime(NamedTuple):
    """What networks learnt from, and how they err.

    Attributes:
        name: what it is, in words.
        errors: error in percent by the network's name, for every network that has a colour.
        courses: error on held-out recordings after each epoch, in percent, by the network's name; empty where
            nothing was held out.
    """

    name: str
    errors: Mapping[str, float]
    courses: Mapping[str, Sequence[float]]


class Asked(NamedTuple):
    """A recording and what networks say of it.

    Attributes:
        image: uint8 (bins, H, W), its frames.
        target: its class.
        answers: of each network.
        remark: what else to say.
    """

    image: npt.NDArray[np.uint8]
    target: int
    answers: Sequence[Answer]
    remark: str


class Regimes(NamedTuple):
    """Everything that the page shows.

    Attributes:
        title: heading of the page.
        lead: what was compared.
        regimes: in the order in which they are drawn, from above.
        colours: of the networks, by their name.
        judged: on what, in words.
        asked: recordings, the least sure ones first.
        classes: what the classes are called.
        headings: of the table, and
        cells: its rows.
        texts: how many of the table's first columns hold text.
        notes: what has to be said of the table.
        origin: (what, value) pairs that say where the numbers come from.
    """

    title: str
    lead: str
    regimes: Sequence[Regime]
    colours: Mapping[str, str]
    judged: str
    asked: Sequence[Asked]
    classes: Sequence[str]
    headings: Sequence[str]
    cells: Sequence[Sequence[str]]
    texts: int
    notes: Sequence[str]
    origin: Sequence[tuple[str, str]]


def regimes_report(shown: Regimes) -> str:
    """One HTML document that refers to nothing outside itself."""
    words = "; ".join(
        f"{regime.name}: " + ", ".join(f"{name} {error:.2f} %" for name, error in regime.errors.items())
        for regime in shown.regimes
    )
    cards = [card(one.image, one.answers, shown.classes, one.target, one.remark) for one in shown.asked]
    sections = [
        page.section(
            "Errors",
            page.table(shown.headings, shown.cells, texts=shown.texts),
            *(page.paragraph(note) for note in shown.notes),
            page.figure(regimes_picture(shown), f"Error on {shown.judged}: {words}"),
        ),
        page.section(
            "What it is least sure of",
            page.paragraph(
                "Recordings of the largest entropy among those that were held out together, all bins in one. "
                "The true class's name is bold."
            ),
            page.grid(cards, cards=True),
        ),
        page.section("Origin", page.facts(shown.origin)),
    ]
    return page.page(shown.title, shown.lead, sections, WRITTEN_BY)


def regimes_picture(shown: Regimes, *, kind: Literal["svg", "png"] = "svg") -> bytes:
    """Errors by regime, how they fell, and recordings that a network is unsure of."""

    def draw(figure: Figure) -> None:
        halves = figure.add_gridspec(2, 1, height_ratios=(2.5, 1.0))
        above, below = (figure.add_subfigure(halves[i]) for i in range(2))
        left, right = above.subplots(1, 2, width_ratios=(1.0, 1.15))
        _errors(left, shown)
        _courses(right, shown)
        title = f"What the {next(iter(shown.colours))} is least sure of, and what is said of it"
        below.suptitle(title, x=0.012, ha="left", fontsize=9.5, fontweight="bold")
        for axes, one in zip_longest(below.subplots(1, _SHOWN), shown.asked[:_SHOWN]):
            if one is None:
                axes.set_axis_off()
            else:
                _recording(axes, one, shown.classes)

    return picture(draw, 9.0, 4.9, kind=kind)


def _errors(axes: Axes, shown: Regimes) -> None:
    places = np.arange(len(shown.regimes))
    for i, (name, colour) in enumerate(shown.colours.items()):
        height = 0.8 / len(shown.colours)
        values = [regime.errors[name] for regime in shown.regimes]
        bars = axes.barh(places - 0.4 + (i + 0.5) * height, values, height * 0.9, color=colour, label=name)
        axes.bar_label(bars, [f" {value:.2f}" for value in values], fontsize=7.5, color=INK)
    axes.set_yticks(places, [regime.name for regime in shown.regimes])
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()
    axes.margins(x=0.16)
    axes.set_title(f"Error (%) on {shown.judged}, by what was learnt", x=-0.36)
    axes.grid(axis="x")
    # Below: with one regime the bars fill the axes.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=len(shown.colours), fontsize=7.5)


def _courses(axes: Axes, shown: Regimes) -> None:
    axes.set_title("Error (%) on what is held out")
    if not any(regime.courses for regime in shown.regimes):
        axes.text(0.5, 0.5, "nothing was held out", transform=axes.transAxes, ha="center", color=SOFT)
        axes.set_axis_off()
        return
    for regime, dashes in zip(shown.regimes, _DASHES, strict=False):
        for name, errors in regime.courses.items():
            epochs = np.arange(1, len(errors) + 1)
            # 0 has no place on a logarithmic axis.
            values = np.maximum(errors, 0.05)
            axes.plot(epochs, values, color=shown.colours[name], linestyle=dashes, linewidth=1.5)
        if regime.courses:
            axes.plot([], [], color=SOFT, linestyle=dashes, label=regime.name)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    axes.grid(axis="y")
    axes.legend(loc="upper right", fontsize=7.5)


def _recording(axes: Axes, one: Asked, classes: Sequence[str]) -> None:
    axes.imshow(one.image.astype(np.int64).sum(0), cmap="gray_r", interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(classes[one.target], fontsize=8, loc="center")
    for row, answer in enumerate(one.answers):
        best = int(answer.probabilities.argmax())
        text = f"{classes[best]} ({answer.probabilities[best]:.2f})"
        axes.text(
            0.5, -0.06 - 0.17 * row, text, transform=axes.transAxes, ha="center", va="top",
            fontsize=7.5, color=answer.colour,
        )  # fmt: skip
