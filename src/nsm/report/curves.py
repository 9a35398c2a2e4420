"""Pictures of numbers that change: over epochs, and with the number of samples."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from nsm.report.drawing import NSM, SOFT, WIDTH, picture
from nsm.training import EpochMetrics


def learning_curves(rows: Sequence[EpochMetrics], colour: str = NSM) -> bytes:
    """Training and validation error of each epoch, as SVG.

    Args:
        rows: at least one epoch.
        colour: of the validation error.
    """
    epochs = [row.epoch for row in rows]
    train = [row.train_error_percent for row in rows]
    validation = [row.validation_error_percent for row in rows if row.validation_error_percent is not None]

    def draw(figure: Figure) -> None:
        axes = figure.add_axes((0.1, 0.17, 0.88, 0.73))
        marker = "o" if len(rows) == 1 else None  # a line of one point is not seen
        axes.plot(epochs, train, marker=marker, color=SOFT, label="training")
        if validation:
            axes.plot(epochs, validation, marker=marker, color=colour, label="validation")
        percent_axis(axes, [*train, *validation])
        axes.set_xlim(0, max(2, epochs[-1]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
        axes.set_title("Error (%)")
        axes.legend(loc="upper right")
        axes.grid(axis="y")

    return picture(draw, WIDTH, 2.8, constrained=False)


def against_samples(samples: Sequence[int], values: Sequence[float], title: str) -> bytes:
    """A measure that depends on the number of Monte Carlo samples, as SVG.

    Args:
        samples: numbers of samples, rising.
        values: the measure for each of them.
        title: its name and unit.
    """

    def draw(figure: Figure) -> None:
        axes = figure.add_axes((0.1, 0.17, 0.88, 0.73))
        axes.plot(samples, values, "o-", color=NSM, markersize=4)
        axes.set_xscale("log")
        axes.set_xticks(samples, [str(number) for number in samples])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("samples averaged")
        axes.set_title(title)
        axes.set_ylim(0.0, 1.1 * max(*values, 1e-3))
        axes.grid(axis="y")

    return picture(draw, WIDTH, 2.5, constrained=False)


def percent_axis(axes: Axes, values: Sequence[float]) -> None:
    """Logarithmic, so that the first epochs do not hide the last ones, and down to 0, which may be met."""
    positive = [value for value in values if value > 0.0]
    smallest = min(positive, default=1.0)
    threshold = 10.0 ** math.floor(math.log10(smallest))
    ticks = (
        [0.0]
        + [step * 10.0**power for power in range(math.floor(math.log10(threshold)), 2) for step in (1, 2, 5)]
        + [100.0]
    )
    top = 1.2 * max([*positive, threshold])
    axes.set_yscale("symlog", linthresh=threshold, linscale=0.5)
    axes.set_yticks([tick for tick in ticks if tick <= top])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(-0.1 * threshold, top)
