"""Streams in the slow and obvious way: every event remembered, the window made anew for each decision."""

from collections import deque

import numpy as np

from nsm.data import events as ev


def moments(events, frames, every, *, finish=True):
    """(moments, counts) of a stream; moments are (number, time, frames)."""
    width, height, _ = frames.sensor_size
    length = frames.bins * frames.width
    taken, last, found = [], {}, []
    counts = dict.fromkeys(("taken", "late", "duplicate", "outside"), 0)
    origin, number = None, 1

    def decide():
        end = origin + number * every
        start = max(origin, end - length)
        inside = [event for event in taken if start <= event[2] < start + length]
        window = np.array(inside, ev.EVENT)
        window = window[np.argsort(window["t"], kind="stable")]
        window["t"] -= start
        seen = frames(window)
        if seen.any():
            found.append((number, end, seen))

    for x, y, t, p in events.tolist():
        if not (0 <= x < width and 0 <= y < height and 0 <= t < 2**62):
            counts["outside"] += 1
            continue
        if origin is None:
            origin = t
        while t >= origin + number * every:
            decide()
            number += 1
        if t < origin or t < origin + number * every - max(length, every):
            counts["late"] += 1
            continue
        known = last.setdefault((x, y, p), deque(maxlen=8))
        if t in known:
            counts["duplicate"] += 1
            continue
        known.append(t)
        taken.append((x, y, t, p))
        counts["taken"] += 1
    if finish and origin is not None:
        decide()
    return found, counts


def cut(events, places):
    """The stream in arrays that end at ``places``."""
    return np.split(events, sorted(place % (len(events) + 1) for place in places))
