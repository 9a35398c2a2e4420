"""What a stream costs: events per second with their decisions, latency of a decision, memory over an hour."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from nsm import models, native, nn
from nsm.data.events import Events, make
from nsm.engine import compile  # noqa: A004
from nsm.report.drawing import CLASSES, NSM, SOFT, TWIN, picture
from nsm.streams import EVERY, NMNIST_WINDOW, SlidingWindow, StreamPredictor
from nsm.studies.timing import in_turn

STUDY = "stream"
RATE = 5_000_000  # events per second of the stream
_ARRAY = 1000  # us of the stream that arrive at once
_HOUR_RATE, _HOUR_PERIOD = 10_000, 10  # something moves for one second in ten
_NETWORK = "nmnist-cnn"
_STREAM, _DECISION = "stream with ", "decision by "


def run(
    *,
    seconds: float = 1.0,
    decisions: int = 300,
    minutes: int = 60,
    repeats: int = 5,
    rate: int = RATE,
    progress: Callable[[int, int], object] | None = None,
) -> list[dict[str, Any]]:
    """Measure the network for N-MNIST on random events, untrained: its speed does not depend on its weights.

    A load is the time that a stream takes over the time that it lasts: below 1 it is kept up with.

    Args:
        seconds: length of the stream whose load is measured, > 0.
        decisions: whose latency is measured, >= 2.
        minutes: simulated minutes over which memory is watched, >= 1.
        repeats: measurements of each load; medians count.
        rate: events per second of the stream, >= 1000.
        progress: called with the number of parts done and of all.

    Returns:
        Rows with ``name``, ``value`` and ``unit``: loads, with ``events_per_second``; median latencies of
        decisions in milliseconds, with ``percentiles`` 0 to 100; and on Linux the largest memory of the
        process in MiB, with that after each minute.
    """
    stream = _arrays(rate, seconds, _ARRAY)
    net = _network()
    program = compile(net)
    makers = {f"program, {samples} samples": _maker(program, samples) for samples in (10, 30, 100)}
    makers |= {f"network, {samples} samples": _maker(net, samples) for samples in (1, 10)}
    sides: dict[str, Callable[[], object]] = {
        "window alone": partial(_window_alone, stream),
        "window made anew for each decision": partial(_made_anew, stream),
        **{f"{_STREAM}{name}": partial(_fed, maker, stream) for name, maker in makers.items()},
    }
    parts = len(sides) + len(makers) + 1
    rows: list[dict[str, Any]] = []

    def tell(name: str, value: float, unit: str, **described: Any) -> None:
        rows.append({"name": name, "value": value, "unit": unit, "every_ms": EVERY / 1000, **described})
        if progress is not None:
            progress(len(rows), parts)

    used: dict[str, Any] = {"rate": rate, "threads": torch.get_num_threads(), "kernels": native.active()}
    count = sum(map(len, stream))
    for name, side in sides.items():
        (taken,) = in_turn([side], repeats)
        tell(name, taken / seconds, "load", events_per_second=count / taken, repeats=repeats, **used)
    for name, maker in makers.items():
        found = _latencies(maker(), stream, decisions)
        percentiles = np.percentile(found, range(101)).round(4).tolist()
        p50, p99 = percentiles[50], percentiles[99]
        described = {"p99": p99, "percentiles": percentiles, "decisions": len(found)}
        tell(f"{_DECISION}{name}", p50, "ms", **described, **used)
    memory = _memory(_maker(program, 1)(), minutes)
    if memory:
        used["rate"] = _HOUR_RATE / _HOUR_PERIOD
        tell("memory", max(memory), "MiB", after_first_minute=memory[0], by_minute=memory, **used)
    return rows


def table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the rows."""
    cells = []
    for row in rows:
        rate, p99 = row.get("events_per_second"), row.get("p99")
        cells.append(
            [
                row["name"],
                f"{row['value']:.3g}" if row["value"] < 1000 else f"{row['value']:,.0f}",
                row["unit"],
                "" if p99 is None else f"{p99:.3g}",
                "" if rate is None else f"{rate / 1e6:.3g}",
            ]
        )
    return ["what", "measured", "unit", "99 %", "M events/s"], cells


def draw(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Loads, latencies and memory, as PNG."""

    def panels(figure: Figure) -> None:
        left, middle, right = figure.subplots(1, 3, width_ratios=(1.0, 1.5, 1.0))
        _loads(left, [row for row in rows if row["unit"] == "load"][::-1])
        _distributions(middle, [row for row in rows if row["unit"] == "ms"])
        _over_time(right, [row for row in rows if row["unit"] == "MiB"])

    return picture(panels, 11.0, 3.0, kind="png")


def _loads(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    values = [row["value"] for row in rows]
    axes.barh(range(len(rows)), values, 0.6, color=[NSM if value < 1.0 else TWIN for value in values])
    axes.set_yticks(range(len(rows)), [row["name"].removeprefix(_STREAM) for row in rows])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(1.0, color=SOFT, linewidth=1.0, linestyle="--", zorder=0)
    for place, value in enumerate(values):
        free = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
        where, offset = (value, place), (4, 0)
        axes.annotate(
            f"{value:.2g}", where, offset, textcoords="offset points", va="center", fontsize=7.5, bbox=free
        )
    axes.set_xlim(right=5.0 * max(1.0, *values))
    axes.set_title(f"Load of {rows[0]['rate'] / 1e6:g} M events/s")
    axes.set_xlabel("time taken / time of the stream")


def _distributions(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    for colour, row in zip(CLASSES, rows, strict=False):
        name = row["name"].removeprefix(_DECISION)
        style = "-" if name.startswith("program") else "--"
        axes.plot(row["percentiles"], range(101), style, color=colour, label=name, linewidth=1.5)
    axes.set_xlim(left=0.0)
    axes.axvline(EVERY / 1000, color=SOFT, linewidth=1.0, linestyle=":")
    axes.set_title("Decisions that take less")
    axes.set_xlabel("ms")
    axes.set_ylabel("%")
    axes.set_xlim(right=1.6 * axes.get_xlim()[1])
    axes.legend(fontsize=7.5, loc="center right")


def _over_time(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        memory = row["by_minute"]
        axes.plot(range(1, len(memory) + 1), memory, color=NSM)
        axes.set_ylim(0.0, 1.3 * max(memory))
    axes.set_title("Memory (MiB)")
    axes.set_xlabel("simulated minutes")


def _network() -> models.Network:
    """Fresh, with gains for windows like those of the stream: recordings are sparse."""
    net = models.build(_NETWORK)
    generator = torch.Generator().manual_seed(0)
    nn.calibrate(net, (torch.rand(64, *net.image, generator=generator) < 0.2).float())
    return net


def _maker(net: Any, samples: int) -> Callable[[], StreamPredictor]:
    return lambda: StreamPredictor(net, NMNIST_WINDOW, samples=samples)


def _arrays(rate: int, seconds: float, span: int, *, seed: int = 0, start: int = 0) -> list[Events]:
    """Random events as they arrive, ``span`` microseconds at a time."""
    generator = np.random.Generator(np.random.Philox(key=[seed, start]))
    n = round(rate * seconds)
    width, height, _ = NMNIST_WINDOW.sensor_size
    t = np.sort(generator.integers(start, start + round(seconds * 1e6), n))
    x, y, p = (generator.integers(0, high, n) for high in (width, height, 2))
    edges = np.arange(start + span, start + round(seconds * 1e6), span)
    parts = np.split(make(x, y, t, p), np.searchsorted(t, edges))
    return [part for part in parts if len(part)]


def _fed(maker: Callable[[], StreamPredictor], stream: Sequence[Events]) -> None:
    for _ in maker().decisions(stream):
        pass


def _window_alone(stream: Sequence[Events]) -> None:
    window = SlidingWindow(NMNIST_WINDOW, every=EVERY)
    for events in stream:
        for _ in window.feed(events):
            pass


def _made_anew(stream: Sequence[Events]) -> None:
    """What a stream costs without anything kept up to date but the events themselves."""
    assert NMNIST_WINDOW.width is not None
    span = NMNIST_WINDOW.bins * NMNIST_WINDOW.width
    kept: list[Events] = []
    due = EVERY
    for events in stream:
        kept.append(events)
        if int(events["t"][-1]) + _ARRAY < due:
            continue
        start = max(0, due - span)
        kept = [part for part in kept if part["t"][-1] >= start]
        window = np.concatenate(kept)
        window["t"] -= start
        NMNIST_WINDOW(window)
        due += EVERY


def _latencies(predictor: StreamPredictor, stream: Sequence[Events], decisions: int) -> list[float]:
    """Milliseconds from the moment that a decision is due to the decision."""
    found: list[float] = []
    lap = 0
    last = int(stream[-1]["t"][-1])
    predictor.feed(stream[0][:1])
    origin = due = int(stream[0]["t"][0])
    due += EVERY
    for events in _again(stream):
        events["t"] += lap
        before = events[events["t"] < due]
        predictor.feed(before)
        if len(before) < len(events):
            started = time.perf_counter()
            made = predictor.advance(due)
            if made:
                found.append(1000.0 * (time.perf_counter() - started))
            due += EVERY
            predictor.feed(events[len(before) :])
        if len(found) > decisions:
            break
        if int(events["t"][-1]) - lap == last:
            lap += last - origin + 1
    return found[1:]  # the first decision learns how large passes may be


def _again(stream: Sequence[Events]) -> Iterator[Events]:
    while True:
        for events in stream:
            yield events.copy()


def _memory(predictor: StreamPredictor, minutes: int) -> list[float]:
    """MiB of this process after each simulated minute of a stream in which something moves now and then."""
    pages = Path("/proc/self/statm")
    if not pages.exists():
        return []
    page = os.sysconf("SC_PAGE_SIZE") / 2**20
    found = []
    for minute in range(minutes):
        for burst in range(0, 60, _HOUR_PERIOD):
            start = (60 * minute + burst) * 1_000_000
            for events in _arrays(_HOUR_RATE, 1.0, _ARRAY, seed=1, start=start):
                predictor.feed(events)
        found.append(int(pages.read_text().split()[1]) * page)
    return found
