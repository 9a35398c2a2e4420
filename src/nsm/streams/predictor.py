"""Decisions on a stream of events, as it arrives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from nsm import random
from nsm.data.events import Events, TimeFrames
from nsm.engine import Program
from nsm.inference import MarginNoise, Prediction
from nsm.inference.checks import (
    check_inputs,
    check_sequential,
    checked_noise,
    fixed_samples,
)
from nsm.inference.passes import MIB, PassSize
from nsm.inference.predict import predict_in_passes
from nsm.inference.sequential import settle
from nsm.inference.sources import NetworkSource, probe
from nsm.nn import is_stochastic
from nsm.nn.checks import check_net
from nsm.streams.window import Counts, Moment, SlidingWindow

EVERY = 10_000  # us
_BOUND = 256 * MIB  # bytes of the tensors of one pass
Decide = Callable[[Tensor, Tensor], Prediction]


class Decision(NamedTuple):
    """What the events before a moment say.

    Attributes:
        time: of the moment, in microseconds of the stream's clock.
        number: of the decision, from 1; it is due ``number`` times ``every`` after the first event.
        label: number of the most probable class.
        probability: that of this class, in [0, 1].
        prediction: of the one input that the window is, see :class:`nsm.inference.Prediction`.
    """

    time: int
    number: int
    label: int
    probability: float
    prediction: Prediction


class StreamPredictor:
    """Predicts from the last moments of a stream of events, again and again.

    Feed it arrays of any length in the order in which they arrive. A decision is a function of the seed, its
    number and the events that arrived before the one that showed its moment to be over, not of how they were
    cut into arrays; its window is that of :class:`nsm.streams.SlidingWindow`, its number its index in the
    random streams. Memory does not grow with the length of the stream.

    Args:
        net: a network from frames (1, bins, H, W) to logits (1, C), or its compiled program.
        frames: what the network sees, with a width; values become float.
        every: microseconds from one decision to the next, in [1, 2^62).
        samples: samples of each decision, in [1, 2^32]; None for 100, unless a confidence is given instead.
        confidence: in (0, 1), to sample each decision until its class is settled, see :func:`nsm.predict`.
        max_samples: most samples of a decision, with a confidence; None for 1000.
        noise: law of the margins' noise, with a confidence; None for the default one.
        seed: seed of the draws, an integer in [0, 2^63) or a generator that gives one.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument has a wrong value, or the network does not take such frames.

    >>> import nsm
    >>> from nsm.data import events
    >>> from nsm.streams import NMNIST_WINDOW, StreamPredictor
    >>> predictor = StreamPredictor(nsm.models.build("nmnist-cnn"), NMNIST_WINDOW, samples=5)
    >>> arrived = events.make(x=[3, 4, 40, 4], y=[0, 0, 0, 1], t=[0, 25, 40, 10_000], p=[1, 0, 0, 1])
    >>> [(decision.time, decision.number) for decision in predictor.feed(arrived)]
    [(10000, 1)]
    >>> [(decision.time, decision.number) for decision in predictor.finish()]
    [(20000, 2)]
    >>> predictor.counts
    Counts(taken=3, late=0, duplicate=0, outside=1)
    """

    def __init__(
        self,
        net: nn.Module | Program,
        frames: TimeFrames,
        *,
        every: int = EVERY,
        samples: int | None = None,
        confidence: float | None = None,
        max_samples: int | None = None,
        noise: MarginNoise | None = None,
        seed: int | torch.Generator | None = 0,
    ) -> None:
        self._window = SlidingWindow(frames, every=every)
        self._decide = _decider(net, samples, confidence, max_samples, noise, random.resolve_seed(seed))
        bins, *image = frames.bins * frames.shape[0], *frames.shape[1:]
        _check_fits(net, torch.zeros(1, bins, *image))

    @property
    def counts(self) -> Counts:
        """What became of the events so far."""
        return self._window.counts

    def feed(self, events: Events) -> list[Decision]:
        """Take events; the decisions that they show to be due.

        Args:
            events: structured array (n,) of any length, with the fields x, y, t, p.

        Raises:
            TypeError: if they are no such array.
            ValueError: if a polarity is neither 0 nor 1.
        """
        return list(map(self._decided, self._window.feed(events)))

    def advance(self, time: int) -> list[Decision]:
        """The decisions up to ``time``, in microseconds of the stream's clock, though no event came: for a
        live stream that fell silent. Earlier events that come after all may be late.

        Args:
            time: below 2^62.

        Raises:
            TypeError: if ``time`` is no whole number.
            ValueError: if it is too large.
        """
        return list(map(self._decided, self._window.advance(time)))

    def finish(self) -> list[Decision]:
        """The decision that is due next, if its window is not empty: the stream is over."""
        return list(map(self._decided, self._window.finish()))

    def decisions(self, arrays: Iterable[Events]) -> Iterator[Decision]:
        """The decisions of a whole stream, each as soon as it is due."""
        for events in arrays:
            yield from map(self._decided, self._window.feed(events))
        yield from self.finish()

    def _decided(self, moment: Moment) -> Decision:
        _, _, height, width = moment.frames.shape
        x = torch.from_numpy(moment.frames.astype(np.float32)).view(1, -1, height, width)
        prediction = self._decide(x, torch.tensor([moment.number & random.MAX_INDEX]))
        label = int(prediction.probabilities[0].argmax())
        probability = float(prediction.probabilities[0, label])
        return Decision(moment.time, moment.number, label, probability, prediction)


def _decider(
    net: nn.Module | Program,
    samples: int | None,
    confidence: float | None,
    max_samples: int | None,
    noise: MarginNoise | None,
    seed: int,
) -> Decide:
    if confidence is None:
        samples = fixed_samples(samples, max_samples, noise)
    else:
        max_samples = check_sequential(confidence, max_samples, samples)
        noise = checked_noise(noise)
    if isinstance(net, Program):
        program = net
        return lambda x, inputs: program.predict(
            x,
            samples=samples,
            confidence=confidence,
            max_samples=max_samples,
            noise=noise,
            seed=seed,
            inputs=inputs,
        )
    check_net(net)
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    if confidence is None:
        assert samples is not None
        return _fixed(net, samples if is_stochastic(net) else 1, seed, device)
    assert max_samples is not None
    assert noise is not None
    return _settled(net, confidence, max_samples, noise, seed, device)


def _fixed(net: nn.Module, samples: int, seed: int, device: torch.device) -> Decide:
    size = PassSize(_BOUND, samples, device)

    def decide(x: Tensor, inputs: Tensor) -> Prediction:
        x = x.to(device)
        return predict_in_passes(net, x, samples=samples, seed=seed, votes=False, inputs=inputs, size=size)

    return decide


def _settled(
    net: nn.Module, confidence: float, max_samples: int, noise: MarginNoise, seed: int, device: torch.device
) -> Decide:
    size = PassSize(_BOUND, 1, device)
    classes = 0

    def decide(x: Tensor, inputs: Tensor) -> Prediction:
        nonlocal classes
        x = x.to(device)
        classes = classes or probe(net, x, seed=seed, size=size)
        source = NetworkSource(net, x, inputs=inputs, seed=seed, size=size, classes=classes)
        return settle(source, 1, confidence=confidence, max_samples=max_samples, noise=noise)

    return decide


def _check_fits(net: nn.Module | Program, x: Tensor) -> None:
    if not isinstance(net, Program):
        check_inputs(net, x, "frames")
    elif net.shape != x.shape[1:]:
        wanted = ", ".join(map(str, net.shape))
        raise ValueError(
            f"frames must give images ({wanted}), which this program takes, got {tuple(x.shape[1:])}"
        )
