"""What the page asks of a network about a drawing, and what it shows of the answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import torch

from nsm import data
from nsm.data import DataError, ImageSet, read_drawing
from nsm.data.classes import DIGITS
from nsm.demo import panels
from nsm.demo.latest import Latest, ending_silently
from nsm.demo.pictures import from_pad, thumbnail, to_pad
from nsm.demo.sampling import looks
from nsm.demo.subject import BUNDLED, Subject
from nsm.demo.turning import all_angles, turned

_PAUSE = 0.03  # seconds between looks, for the eye


class Questions:
    """Questions about drawings; each answer is HTML.

    Args:
        subject: the network.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._examples = _examples(subject)

    @property
    def has_examples(self) -> bool:
        """Whether there are handwritten digits to begin with."""
        return self._examples is not None

    @ending_silently
    def ask(
        self,
        url: str,
        angle: float,
        confidence: float,
        least: float,
        most: float,
        seed: float,
        latest: Latest,
    ) -> Iterator[tuple[str, str, str]]:
        """Answer, votes and distribution with more and more samples; ends early for a newer question."""
        ticket = latest.take()
        subject = self._subject
        try:
            drawn = from_pad(url, subject.set_name)
        except DataError as error:
            yield panels.message(str(error)), "", ""
            return
        if drawn is None:
            yield panels.nothing(), "", ""
            return
        image = turned(drawn, torch.tensor([angle]))[0]
        seen = thumbnail(image[0].numpy())
        for look in looks(subject.net, image, confidence=confidence, most=int(most), seed=int(seed)):
            if not latest.is_(ticket):
                return
            yield (
                panels.answered(look, subject.classes, least=least, image=seen),
                panels.ballots(look, subject.classes),
                panels.distribution(look, subject.classes),
            )
            time.sleep(_PAUSE)

    def turn(self, url: str, seed: float) -> str:
        """The chart over all angles."""
        try:
            drawn = from_pad(url, self._subject.set_name)
        except DataError:
            return ""  # the answer's place says so
        if drawn is None:
            return ""
        return panels.round_trip(all_angles(self._subject.net, drawn, seed=int(seed)), self._subject.classes)

    def upload(self, path: str) -> tuple[object, str, object]:
        """A picture for the pad and no digit chosen, or a word on what is wrong with it."""
        try:
            url = to_pad(read_drawing(Path(path)))
            from_pad(url, self._subject.set_name)
        except DataError as error:
            return gr.skip(), panels.message(str(error).replace(path, Path(path).name)), gr.skip()
        return url, "", None

    def example(self, name: str) -> tuple[str, str]:
        """A handwritten digit for the pad."""
        assert self._examples is not None
        place = int(torch.nonzero(self._examples.targets == DIGITS.index(name))[0])
        return to_pad(self._examples.images[place, 0].numpy()), ""


def _examples(subject: Subject) -> ImageSet | None:
    """Test images of digits: the network's own where they are at hand, else the bundled ones."""
    if subject.classes != DIGITS:
        return None
    name = subject.set_name if data.is_present(subject.set_name) else BUNDLED
    return data.load(name).test
