"""Decisions on streams of events: a sliding window kept up to date, a prediction every few milliseconds."""

from nsm.streams.predictor import EVERY, Decision, StreamPredictor
from nsm.streams.window import Counts, Moment, SlidingWindow
from nsm.streams.windows import GESTURE_WINDOW, NMNIST_WINDOW, window_of

__all__ = [
    "EVERY",
    "GESTURE_WINDOW",
    "NMNIST_WINDOW",
    "Counts",
    "Decision",
    "Moment",
    "SlidingWindow",
    "StreamPredictor",
    "window_of",
]
