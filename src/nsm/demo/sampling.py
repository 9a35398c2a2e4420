"""Asking a network of one image, sample by sample, and putting its answer into words."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from nsm.inference import Prediction, Reason, predictions
from nsm.inference.reasons import UNSETTLED
from nsm.models import Network
from nsm.nn import sample_outputs


class Look(NamedTuple):
    """What is known of one image after some samples.

    Attributes:
        prediction: of a batch of one.
        votes: most probable class of each sample, in order; its draws are those of the prediction.
        milliseconds: spent on the samples so far.
    """

    prediction: Prediction
    votes: tuple[int, ...]
    milliseconds: float

    @property
    def probabilities(self) -> Tensor:
        """(C,), their mean."""
        return self.prediction.probabilities[0]

    @property
    def reason(self) -> Reason:
        """Why sampling ended, or that it did not."""
        assert self.prediction.reasons is not None
        return Reason(int(self.prediction.reasons[0]))


def looks(net: Network, image: Tensor, *, confidence: float, most: int, seed: int) -> Iterator[Look]:
    """What a network says of an image, with more samples from look to look, until its class is settled.

    Args:
        net: in evaluation mode.
        image: float (C, H, W) in [0, 1].
        confidence: in (0, 1), see :func:`nsm.predict`.
        most: samples, >= 1.
        seed: of the draws.
    """
    votes: list[int] = []
    spent = 0.0
    started = time.perf_counter()
    for prediction in predictions(net, image[None], confidence=confidence, max_samples=most, seed=seed):
        spent += time.perf_counter() - started
        used = int(prediction.samples_used[0])
        votes += _votes(net, image, torch.arange(len(votes), used), seed)
        yield Look(prediction, tuple(votes), 1000.0 * spent)
        started = time.perf_counter()


def _votes(net: Network, image: Tensor, samples: Tensor, seed: int) -> list[int]:
    """The classes that these samples are for, drawn once more: a prediction keeps their mean alone."""
    with torch.no_grad():
        outputs = sample_outputs(net, image[None], seed=seed, samples=samples, inputs=torch.zeros(1).long())
    found: list[int] = outputs[0].argmax(-1).tolist()
    return found


class Answer(NamedTuple):
    """An answer in words.

    Attributes:
        headline: the class, or that it is not sure.
        sentence: why.
        sure: whether it is a class.
    """

    headline: str
    sentence: str
    sure: bool


NOT_SURE = "Not sure"


def answer(look: Look, classes: Sequence[str], *, least: float) -> Answer:
    """A class if it is settled, and at least as probable as asked for; otherwise the two that lead.

    Args:
        look: what is known.
        classes: their names.
        least: smallest probability of a class that is given as an answer.
    """
    first, second = look.probabilities.topk(2).indices.tolist()
    leading = f"{classes[first]} with {percent(float(look.probabilities[first]))}"
    running = look.reason is Reason.RUNNING
    if look.reason in UNSETTLED or running:
        other = f"{classes[second]} with {percent(float(look.probabilities[second]))}"
        why = "still asking" if running else f"{counted(look.votes)} do not settle it"
        return Answer("…" if running else NOT_SURE, f"{leading}, {other}: {why}.", sure=False)
    how = f"settled after {counted(look.votes)}" if look.reason is Reason.SETTLED else "nothing is drawn"
    if look.probabilities[first] < least:
        return Answer(NOT_SURE, f"{leading} leads ({how}), but is below {percent(least)}.", sure=False)
    return Answer(classes[first], f"{leading}: {how}.", sure=True)


def counted(votes: Sequence[int]) -> str:
    """How many samples.

    >>> counted([7]), counted([7, 7])
    ('1 sample', '2 samples')
    """
    return f"{len(votes):,} sample" + "s" * (len(votes) != 1)


def percent(share: float) -> str:
    """A probability in percent.

    >>> percent(0.9876), percent(0.99999), percent(0.00001)
    ('98.8 %', '> 99.9 %', '< 0.1 %')
    """
    if share > 0.999:
        return "> 99.9 %"
    return "< 0.1 %" if 0.0 < share < 0.001 else f"{100.0 * share:.1f} %"
