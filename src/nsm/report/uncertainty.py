"""Pictures of how far predictions can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, NullLocator

from nsm.report.drawing import CLASSES, INK, NSM, SOFT, TWIN, WIDTH, picture

if TYPE_CHECKING:
    from nsm.measures import Reliability, RiskCoverage

Floats = npt.NDArray[np.floating]


def _logarithmic(axes: Axes) -> None:
    bars = [patch.get_height() for patch in axes.patches if isinstance(patch, Rectangle)]
    positive = [height for height in bars if height > 0.0]
    # Before the scale, which would look for limits itself and find none where all bars are of one height.
    axes.set_ylim(min(positive, default=1.0) / 2, 2 * max(positive, default=1.0))
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


_BOX = (0.12, 0.17, 0.86, 0.73)


def reliability_diagram(reliability: Reliability) -> bytes:
    """Accuracy against confidence, with the share of the predictions in each bin below.

    Args:
        reliability: from :meth:`nsm.measures.CalibrationError.reliability`.
    """
    confidence, accuracy = reliability.confidence.numpy(), reliability.accuracy.numpy()
    share = (reliability.examples / reliability.examples.sum()).numpy()

    def draw(figure: Figure) -> None:
        upper, lower = figure.add_axes((0.12, 0.4, 0.86, 0.5)), figure.add_axes((0.12, 0.15, 0.86, 0.17))
        upper.plot([0, 1], [0, 1], "--", color=SOFT, linewidth=1)
        upper.vlines(confidence, confidence, accuracy, color=TWIN, linewidth=3)
        upper.plot(confidence, accuracy, "o-", color=NSM, markersize=4)
        upper.set_ylim(0.0, 1.02)
        upper.set_ylabel("accuracy")
        upper.set_title(f"Calibration error {float(reliability.error()):.4f}")
        upper.set_xticklabels([])
        lower.bar(confidence, share, width=0.02, color=SOFT)
        _logarithmic(lower)
        lower.set_ylabel("share")
        lower.set_xlabel("confidence")
        for axes in (upper, lower):
            axes.set_xlim(-0.02, 1.02)
            axes.grid(axis="y")

    return picture(draw, WIDTH, 3.6, constrained=False)


def risk_coverage(curves: Mapping[str, RiskCoverage]) -> bytes:
    """Error of the predictions that are kept against how many are, one line for each network by name."""

    def draw(figure: Figure) -> None:
        axes = figure.add_axes(_BOX)
        for number, (name, curve) in enumerate(curves.items()):
            colour = CLASSES[number % len(CLASSES)]
            axes.plot(100 * curve.coverage.numpy(), 100 * curve.risk.numpy(), color=colour, label=name)
        axes.set_xlim(0, 102)
        # Nothing may be wrong.
        axes.set_ylim(0.0, 105 * max(1e-3, *(float(curve.risk.max()) for curve in curves.values())))
        axes.set_xlabel("surest predictions kept (%)")
        axes.set_title("Error (%)")
        axes.legend(loc="upper left")
        axes.grid(axis="y")

    return picture(draw, WIDTH, 2.8, constrained=False)


def score_histograms(scores: Mapping[str, Floats], title: str) -> bytes:
    """How a score such as entropy is spread over inputs of several kinds: known and unknown, right and wrong.

    Args:
        scores: by name of the kind, each of shape (N,), >= 0; a kind without inputs is left out.
        title: name and unit of the score.
    """
    shown = {name: values for name, values in scores.items() if len(values)}
    top = max((float(values.max()) for values in shown.values()), default=0.0)
    edges = np.linspace(0.0, max(top, 1e-6), 41).tolist()

    def draw(figure: Figure) -> None:
        axes = figure.add_axes(_BOX)
        for (name, values), colour in zip(shown.items(), (NSM, TWIN, SOFT), strict=False):
            weights = np.full(len(values), 100.0 / len(values))
            axes.hist(values, edges, weights=weights, color=colour, alpha=0.6, label=name)
        _logarithmic(axes)
        axes.set_xlabel(title)
        axes.set_title("Inputs of each kind (%)", color=INK)
        axes.legend(loc="upper right")
        axes.grid(axis="y")

    return picture(draw, WIDTH, 2.8, constrained=False)
