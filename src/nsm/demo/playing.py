"""What the page plays: a recording, and what a network says of it at every time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from nsm import data
from nsm.data import DataError
from nsm.data.classes import DIGITS
from nsm.data.events import Events
from nsm.demo import panels
from nsm.demo.bands import axis, bands, entropies
from nsm.demo.latest import Latest, ending_silently
from nsm.demo.pictures import data_url, from_pad, to_pad
from nsm.demo.recording import Moment, from_drawing, from_file, moments
from nsm.demo.subject import BUNDLED, Subject
from nsm.report.page import Markup, element

_PAUSE = 0.1  # seconds between two moments: ten times slower than life
_MOST = 100
_OFF, _ON = (208, 112, 31), (31, 95, 168)


class Player:
    """Plays recordings to a network.

    Args:
        subject: a network for recordings as N-MNIST has them.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._drawn_as = "digits" if subject.set_name == "digits-simulated" else "mnist"
        self._examples = data.load(self._drawn_as if data.is_present(self._drawn_as) else BUNDLED).test

    def digit(self, name: str) -> tuple[object, str]:
        """A simulated recording of a handwritten digit."""
        place = int(torch.nonzero(self._examples.targets == DIGITS.index(name))[0])
        return self.drawing(to_pad(self._examples.images[place, 0].numpy()))

    def drawing(self, url: str) -> tuple[object, str]:
        """A simulated recording of what is on the pad."""
        try:
            drawn = from_pad(url, self._drawn_as)
        except DataError as error:
            return None, panels.message(str(error))
        if drawn is None:
            return None, panels.message("Draw something on the other tab first.")
        return from_drawing(drawn, seed=0), ""

    def upload(self, path: str) -> tuple[object, str]:
        """A recording from a file, or a word on what is wrong with it."""
        try:
            return from_file(Path(path)), ""
        except DataError as error:
            return None, panels.message(str(error).replace(path, Path(path).name))

    @ending_silently
    def play(self, events: Events | None, latest: Latest) -> Iterator[str]:
        """The recording so far, over and over; ends early for a newer one."""
        ticket = latest.take()
        if events is None:
            yield ""
            return
        duration = int(events["t"][-1]) + 1
        seen: list[Moment] = []
        for moment in moments(self._subject.net, events, confidence=0.99, most=_MOST, seed=0):
            if not latest.is_(ticket):
                return
            seen.append(moment)
            yield _shown(seen, self._subject.classes, duration)
            time.sleep(_PAUSE)


def _shown(seen: list[Moment], classes: tuple[str, ...], duration: int) -> Markup:
    """The last moment, and the course so far."""
    now = seen[-1]
    span = (0.0, duration / 1000.0)
    times = np.array([moment.time for moment in seen]) / 1000.0
    probabilities = np.stack([moment.look.probabilities.numpy() for moment in seen])
    entropy = np.array([float(moment.look.prediction.entropy[0]) for moment in seen])
    mutual = np.array([float(moment.look.prediction.mutual_information[0]) for moment in seen])
    ticks = [(at, f"{at:.0f} ms") for at in (0.0, span[1] / 2.0, span[1])]
    samples = sum(len(moment.look.votes) for moment in seen)
    label = f"Class probabilities over the first {now.time / 1000:.0f} ms"
    return element(
        "div",
        panels.answered(now.look, classes, least=0.5, image=data_url(_picture(now.events))),
        element(
            "div",
            element("h3", "Probability, given the events so far"),
            bands(times, probabilities, span, classes, label),
            panels.key(),
            entropies(times, entropy, mutual, span, len(classes)),
            class_="nsm-plot",
        ),
        axis(ticks, span),
        element(
            "p",
            f"{now.time / 1000:.0f} of {duration / 1000:.0f} ms, {samples:,} samples in all. The picture "
            "shows the events of the last 20 ms, blue where it became lighter and orange where darker.",
            class_="nsm-words",
        ),
        class_="nsm-course",
    )


def _picture(events: NDArray[np.int64]) -> Image.Image:
    off, on = events
    pixels = np.full((*on.shape, 3), 255, np.uint8)
    pixels[off > 0] = _OFF
    pixels[on > off] = _ON
    return Image.fromarray(pixels)
