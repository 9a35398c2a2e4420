"""Gestures as a person can tell them apart: their events, coloured by time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nsm.data.events import Events, Recordings
from nsm.report.drawing import SOFT, picture

_SHOWN = 600_000  # us of a gesture: about half a turn of an arm, so that its direction shows
_EACH = 2  # gestures of a class
_COLOURS = mpl.colormaps["plasma_r"]


class Example(NamedTuple):
    """A gesture to be shown, and what is written above it."""

    events: Events
    title: str


def examples(recordings: Recordings) -> list[Example]:
    """The first gestures of each class that are by different users under different lights."""
    found = []
    for target, name in enumerate(recordings.classes):
        users: set[int | None] = set()
        lights: set[str | None] = set()
        for i, item in enumerate(recordings.items):
            if item.target != target or item.user in users or (item.lighting in lights and len(users) < 5):
                continue
            users.add(item.user)
            lights.add(item.lighting)
            who = f"user {item.user}, {item.lighting}".replace("_", " ")
            found.append(Example(recordings[i][0], f"{name.replace('_', ' ')}\n{who}"))
            if len(users) == _EACH:
                break
    return found


def draw(shown: Sequence[Example], columns: int = 6) -> bytes:
    """Events of the first 0.6 s of each gesture, pale at first and dark at last, as PNG."""
    rows = -(-len(shown) // columns)

    def panels(figure: Figure) -> None:
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, example in zip(grid.flat, shown, strict=False):
            _panel(axes, example)

    return picture(panels, 1.5 * columns, 1.85 * rows, kind="png")


def _panel(axes: Axes, example: Example) -> None:
    events = example.events[example.events["t"] < _SHOWN]
    image = np.ones((128, 128, 3))
    # Of assignments to one pixel the last one stays, which is the latest in time.
    image[events["y"], events["x"]] = _COLOURS(events["t"] / _SHOWN)[:, :3]
    axes.imshow(image, interpolation="nearest")
    title, who = example.title.split("\n")
    axes.set_title(f"{title}\n{who}", fontsize=6.5, fontweight="normal", color=SOFT)
