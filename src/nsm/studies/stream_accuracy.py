"""How soon a stream is understood: accuracy and samples against the time since a recording began."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from nsm import data, models, random
from nsm.data import events as ev
from nsm.data.events import Recordings, TimeFrames
from nsm.data.sources import EventSource
from nsm.inference import Reason
from nsm.report.drawing import NSM, SOFT, TWIN, picture
from nsm.streams import EVERY, Decision, StreamPredictor, window_of
from nsm.training import read_recipe

STUDY = "stream-accuracy"
_SHOWN = (10, 20, 30, 50, 75, 100, 150, 200, 250, 300, 500, 1000)  # ms of the table


def run(
    folder: Path,
    *,
    confidence: float = 0.99,
    max_samples: int = 100,
    seed: int = 0,
    root: Path | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> list[dict[str, Any]]:
    """Stream every test recording of the network's data set by itself, with a decision every 10 ms.

    A network that learned simulated recordings is asked about real ones.

    Args:
        folder: run folder of a network for recordings of events.
        confidence: of each decision, in (0, 1).
        max_samples: most samples of a decision.
        seed: seed of the samples.
        root: data folder, see :func:`nsm.data.load`.
        progress: called with the number of recordings done and of all.

    Returns:
        A row for each time since the first event, see :func:`summary`.

    Raises:
        ValueError: if the network is not for such recordings.
        DataError: if they are missing.
    """
    name = read_recipe(folder).data.set
    frames = window_of(name)
    recordings = _recordings(name, root)
    options: dict[str, Any] = {"confidence": confidence, "max_samples": max_samples}
    rows = summary(models.load(folder), frames, recordings, seed=seed, progress=progress, **options)
    return [{**row, "trained_on": name, **options, "seed": seed} for row in rows]


def summary(
    net: nn.Module,
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
    decided: dict[int, list[tuple[Decision, int]]] = defaultdict(list)
    for number, (events, target) in enumerate(recordings):
        # Each its own seed: decisions of the same number would share their draws.
        own = random.derive(seed, "recording", number)
        predictor = StreamPredictor(net, frames, confidence=confidence, max_samples=max_samples, seed=own)
        for decision in predictor.decisions([events]):
            decided[decision.number].append((decision, target))
        if progress is not None:
            progress(number + 1, len(recordings))
    return [_row(number, decided[number]) for number in sorted(decided)]


def _row(number: int, decided: Sequence[tuple[Decision, int]]) -> dict[str, Any]:
    predictions = [decision.prediction for decision, _ in decided]
    settled = [p.reasons is not None and int(p.reasons[0]) == Reason.SETTLED for p in predictions]
    return {
        "ms": number * EVERY / 1000,
        "accuracy_percent": 100.0 * mean(decision.label == target for decision, target in decided),
        "probability": mean(decision.probability for decision, _ in decided),
        "samples": mean(int(p.samples_used[0]) for p in predictions),
        "settled_percent": 100.0 * mean(settled),
        "entropy": mean(float(p.entropy[0]) for p in predictions),
        "n": len(decided),
    }


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
        left.legend(loc="lower right")
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
    readers = {"dvsgesture": ev.dvs_gesture, "dvsgesture-precut": ev.dvs_gesture_precut}
    layout = source.layout if isinstance(source, EventSource) else "nmnist"
    return readers.get(layout, ev.nmnist)("test", root)
