"""How soon a stream is understood: accuracy and samples against the time since a recording began."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from nsm import data, models, random
from nsm.data import events as ev
from nsm.data.events import Events, Recordings, TimeFrames
from nsm.data.sources import EventSource
from nsm.engine import Program, compile  # noqa: A004
from nsm.inference import Reason, predict
from nsm.report.drawing import NSM, SOFT, TWIN, picture
from nsm.streams import EVERY, SlidingWindow, window_of
from nsm.training import read_recipe

STUDY = "stream-accuracy"
_SHOWN = (10, 20, 30, 50, 75, 100, 150, 200, 250, 300, 500, 1000)  # ms of the table


def run(
    folder: Path,
    *,
    confidence: float = 0.99,
    max_samples: int = 100,
    seed: int = 0,
    recordings: int | None = None,
    compiled: bool = False,
    root: Path | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[dict[str, Any]]:
    """Stream test recordings of the network's data set, each by itself, with a decision every 10 ms.

    A network that learned simulated recordings is asked about real ones.

    Args:
        folder: run folder of a network for recordings of events.
        confidence: of each decision, in (0, 1).
        max_samples: most samples of a decision.
        seed: seed of the samples.
        recordings: how many are streamed, at even distances in their order, >= 1; None for all.
        compiled: whether the compiled network decides, several times as fast.
        root: data folder, see :func:`nsm.data.load`.
        progress: called with the number of recordings done and of all.

    Returns:
        A row for each time since the first event, see :func:`summary`.

    Raises:
        ValueError: if the network is not for such recordings, or the seed is outside [0, 2^63).
        DataError: if they are missing.
    """
    seed = random.resolve_seed(seed)
    name = read_recipe(folder).data.set
    frames = window_of(name)
    found = _recordings(name, root)
    chosen = found if recordings is None else _some(found, recordings)
    net = models.load(folder)
    options: dict[str, Any] = {"confidence": confidence, "max_samples": max_samples}
    rows = summary(compile(net) if compiled else net, frames, chosen, seed=seed, progress=progress, **options)
    return [{**row, "trained_on": name, **options, "seed": seed, "compiled": compiled} for row in rows]


def summary(
    net: nn.Module | Program,
    frames: TimeFrames,
    recordings: Recordings,
    *,
    confidence: float,
    max_samples: int,
    seed: int,
    progress: Callable[[int, int], object] | None = None,
) -> list[dict[str, Any]]:
    """What the decisions at each time say, over all recordings that last as long.

    Returns:
        Rows with ``ms`` since the first event, ``accuracy_percent``, the mean ``probability`` of the class
        that was decided for, the mean number of ``samples``, ``settled_percent`` of the decisions, mean
        ``entropy`` in nats, and the number ``n`` of recordings.
    """
    decided: dict[int, list[_Scores]] = defaultdict(list)
    for number, (events, target) in enumerate(recordings):
        # Decisions of the same number would share their draws.
        own = random.derive(seed, "recording", number)
        for decision, scores in _decisions(net, frames, events, target, confidence, max_samples, own):
            decided[decision].append(scores)
        if progress is not None:
            progress(number + 1, len(recordings))
    return [
        {
            "ms": number * EVERY / 1000,
            "accuracy_percent": 100.0 * mean(scores.right for scores in decided[number]),
            "probability": mean(scores.probability for scores in decided[number]),
            "samples": mean(scores.samples for scores in decided[number]),
            "settled_percent": 100.0 * mean(scores.settled for scores in decided[number]),
            "entropy": mean(scores.entropy for scores in decided[number]),
            "n": len(decided[number]),
        }
        for number in sorted(decided)
    ]


class _Scores(NamedTuple):
    """Of one decision."""

    right: float
    probability: float
    samples: float
    settled: float
    entropy: float


def _decisions(
    net: nn.Module | Program,
    frames: TimeFrames,
    events: Events,
    target: int,
    confidence: float,
    max_samples: int,
    seed: int,
) -> Iterator[tuple[int, _Scores]]:
    """The decisions of a stream of these events, with their numbers: those of a predictor, all at once."""
    window = SlidingWindow(frames, every=EVERY)
    moments = [*window.feed(events), *window.finish()]
    if not moments:
        return
    x = torch.from_numpy(np.stack([moment.frames for moment in moments])).float().flatten(1, 2)
    numbers = torch.tensor([moment.number for moment in moments])
    asked = net.predict if isinstance(net, Program) else partial(predict, net)
    found = asked(x, confidence=confidence, max_samples=max_samples, seed=seed, inputs=numbers)
    assert found.reasons is not None
    probability, label = found.probabilities.max(1)
    columns = (
        label == target,
        probability,
        found.samples_used,
        found.reasons == Reason.SETTLED,
        found.entropy,
    )
    for number, row in zip(
        numbers.tolist(), torch.stack([c.double() for c in columns], 1).tolist(), strict=True
    ):
        yield number, _Scores(*row)


def table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of some of the rows."""
    headings = ["ms", "accuracy, %", "probability", "samples", "settled, %", "recordings"]
    cells = [
        [
            f"{row['ms']:g}",
            f"{row['accuracy_percent']:.0f}",
            f"{row['probability']:.2f}",
            f"{row['samples']:.1f}",
            f"{row['settled_percent']:.0f}",
            str(row["n"]),
        ]
        for row in rows
        if row["ms"] in _SHOWN
    ]
    return headings, cells


def draw(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Accuracy and samples against time, as PNG; times that less than half of the recordings reach are not
    shown.
    """
    most = max(row["n"] for row in rows)
    shown = [row for row in rows if 2 * row["n"] >= most]

    def panels(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        _line(left, shown, "accuracy_percent", NSM, "right")
        _line(left, shown, "probability", TWIN, "said to be right", scale=100.0)
        _line(left, shown, "settled_percent", SOFT, "settled", style=":")
        left.set_ylim(0, 102)
        left.set_title(f"Decisions on {most} recordings (%)")
        left.legend(loc="best")
        _line(right, shown, "samples", NSM, "")
        right.set_ylim(bottom=0)
        right.set_title("Samples of a decision, mean")

    return picture(panels, 8.0, 3.0, kind="png")


def _line(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    key: str,
    colour: str,
    label: str,
    *,
    scale: float = 1.0,
    style: str = "-",
) -> None:
    axes.plot(
        [row["ms"] for row in rows], [scale * row[key] for row in rows], style, color=colour, label=label
    )
    axes.set_xlabel("ms since the first event")
    axes.grid(visible=True, axis="y")


def _recordings(name: str, root: Path | None) -> Recordings:
    source = data.describe(name).source
    if not isinstance(source, EventSource) or source.layout == "nmnist":
        return ev.nmnist("test", root)
    read = ev.dvs_gesture if source.layout == "dvsgesture" else ev.dvs_gesture_precut
    return read("test", root, folder=source.folder)


def _some(recordings: Recordings, count: int) -> Recordings:
    """So many of them, at even distances."""
    items = recordings.items
    count = min(count, len(items))
    places = [number * len(items) // count for number in range(count)]
    return replace(recordings, items=tuple(items[place] for place in places))
