"""Bands of probability and the entropy below them, against an angle or against time, as SVG with HTML text.

Geometry stretches with the page while text keeps its size: labels are HTML, placed in percent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from nsm.report.drawing import CLASSES
from nsm.report.page import Markup, element
from nsm.report.rotation import peaks

Floats = NDArray[np.floating]


def colour(index: int) -> str:
    """Of a class."""
    return CLASSES[index % len(CLASSES)]


def bands(
    places: Floats, probabilities: Floats, span: tuple[float, float], classes: Sequence[str], label: str
) -> Markup:
    """Class probabilities (A, C) at ``places`` (A,), stacked, over an axis from ``span[0]`` to ``span[1]``.

    Args:
        places: rising.
        probabilities: each row adds up to 1.
        span: ends of the axis.
        classes: their names.
        label: what the picture shows, in words.
    """
    x = _percent(places, span)
    upper = np.concatenate((np.zeros((len(places), 1)), probabilities.cumsum(1)), 1)
    polygons = [
        _polygon(x, 100.0 * (1.0 - upper[:, index]), 100.0 * (1.0 - upper[:, index + 1]), colour(index))
        for index in range(len(classes))
        if probabilities[:, index].max(initial=0.0) > 0.005
    ]
    names = [
        element(
            "span",
            classes[index],
            class_="nsm-band-name",
            style=f"left:{x[at]:.2f}%;top:{100 * (1 - upper[at, index : index + 2].mean()):.2f}%",
        )
        for index in range(len(classes))
        for at in peaks(probabilities[:, index])
    ]
    return element("div", _svg(polygons, label), *names, class_="nsm-bands")


def entropies(
    places: Floats, entropy: Floats, mutual: Floats, span: tuple[float, float], most: int
) -> Markup:
    """Entropy (A,) over an axis, its part between samples dark.

    Args:
        places: rising.
        entropy: in nats.
        mutual: mutual information, in nats.
        span: ends of the axis.
        most: number of classes; the axis ends at its logarithm.
    """
    x, scale = _percent(places, span), 100.0 / math.log(most)
    within = 100.0 - scale * (entropy - mutual)
    label = "Entropy (in nats)"
    if len(places):
        label += f" from {entropy.min():.2f} to {entropy.max():.2f}"
    parts = [
        _polygon(x, np.full_like(within, 100.0), within, "var(--nsm-within)"),
        _polygon(x, within, 100.0 - scale * entropy, "var(--nsm-between)"),
    ]
    return element("div", _svg(parts, label), class_="nsm-bands nsm-entropy")


def axis(ticks: Sequence[tuple[float, str]], span: tuple[float, float]) -> Markup:
    """Labels below a picture at places on its axis."""
    places = _percent(np.array([place for place, _ in ticks]), span)
    labels = (
        element("span", text, style=f"left:{place:.2f}%")
        for place, (_, text) in zip(places, ticks, strict=True)
    )
    return element("div", *labels, class_="nsm-axis", **{"aria-hidden": "true"})


def _percent(places: Floats, span: tuple[float, float]) -> Floats:
    return 100.0 * (places - span[0]) / (span[1] - span[0])


def _svg(parts: Sequence[Markup], label: str) -> Markup:
    return element(
        "svg",
        *parts,
        viewBox="0 0 100 100",
        preserveAspectRatio="none",
        role="img",
        **{"aria-label": label},
    )


def _polygon(x: Floats, lower: Floats, upper: Floats, fill: str) -> Markup:
    there = [f"{a:.2f},{b:.2f}" for a, b in zip(x, upper, strict=True)]
    back = [f"{a:.2f},{b:.2f}" for a, b in zip(x[::-1], lower[::-1], strict=True)]
    return element("polygon", points=" ".join(there + back), fill=fill)
