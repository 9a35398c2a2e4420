"""Sampling inputs until each is settled: one sampler, for whole answers and for answers that improve."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from nsm import random
from nsm.inference.checks import (
    MAX_SAMPLES,
    check_confidence,
    check_indices,
    check_inputs,
    check_net,
    check_samples,
    checked_noise,
    memory_bytes,
)
from nsm.inference.passes import MIB, PassSize, evaluation_mode
from nsm.inference.prediction import Prediction, Sums, logits_of, softmax_of
from nsm.inference.reasons import Reason
from nsm.inference.settling import MarginNoise, Margins
from nsm.nn import is_stochastic

# Samples drawn between two looks at the clock, relative to those before: few are drawn in vain, and an input
# that needs hundreds takes few passes.
_GROWTH = 0.25
_STATE_BYTES = 64 * MIB


def inputs_at_once(classes: int) -> int:
    """Inputs that may be sampled side by side, each with a product for every pair of classes."""
    return max(1, _STATE_BYTES // (8 * classes**2))


def probe(net: nn.Module, x: Tensor, *, seed: int, size: PassSize) -> int:
    """Number of classes, found by a small pass that tells ``size`` what passes need."""

    def forward(x: Tensor, inputs: Tensor, samples: Tensor) -> Tensor:
        return logits_of(net, x, seed=seed, samples=samples, inputs=inputs)

    # Not one row: what has one row alone is often not copied, and would tell too little.
    few = x[:2]
    places = torch.arange(len(few), device=x.device)
    with torch.no_grad(), evaluation_mode(net):
        return size.run(forward, few, places, places[:1]).shape[2]


class Sampler:
    """Draws samples of inputs and drops each input once it is settled; arguments are checked.

    The test is made after every single sample, also where a pass draws several, and what was drawn beyond is
    forgotten: passes change no answer.

    Args:
        net: maps (N, ...) to logits (N, C).
        x: (B, ...), the inputs.
        confidence: in (0, 1); None to go on to ``max_samples``.
        max_samples: most samples of each input.
        noise: law of the margins' noise.
        seed: seed of the draws.
        inputs: int64 (B,), the inputs' indices in the random streams.
        classes: C, from :func:`probe`.
        size: size of passes of single samples, known from :func:`probe`.

    Attributes:
        running: whether an input is not settled yet.
        drawn: samples drawn of those that run.
    """

    def __init__(
        self,
        net: nn.Module,
        x: Tensor,
        *,
        confidence: float | None,
        max_samples: int,
        noise: MarginNoise,
        seed: int,
        inputs: Tensor,
        classes: int,
        size: PassSize,
    ) -> None:
        self.running, self.drawn = True, 0
        self._net, self._x, self._inputs = net, x, inputs.to(x.device)
        self._confidence, self._noise, self._seed, self._size = confidence, noise, seed, size
        self._stochastic = is_stochastic(net)
        self._limit = max_samples if self._stochastic else 1
        self._active = torch.arange(len(x), device=x.device)
        self._used = torch.zeros_like(self._active)
        self._reasons = torch.full_like(self._active, Reason.RUNNING)
        self._entropies = torch.zeros(len(x), dtype=torch.float64, device=x.device)
        self._probabilities = self._entropies[:, None].repeat(1, classes)
        self._margins = Margins(len(x), classes, x.device)
        self._dtype = torch.float32

    def sample(self) -> bool:
        """Draw one more sample of every input that runs, or some more where it has many; whether any input
        still runs.
        """
        count = min(self._limit - self.drawn, max(1, int(_GROWTH * self.drawn)))
        logits = self._logits(torch.arange(self.drawn, self.drawn + count, device=self._x.device))
        softmax = softmax_of(logits)
        self._dtype = softmax.dtype
        place = torch.arange(len(self._active), device=self._x.device)
        for i in range(count):
            self._count(logits[place, i], softmax[place, i])
            going = self._going()
            place = place[going]
            if not len(place):
                break
        self.running = len(self._active) > 0
        return self.running

    def stop(self) -> None:
        """End sampling because time is up."""
        self._reasons[self._active] = int(Reason.DEADLINE)
        self._active, self.running = self._active[:0], False

    def prediction(self) -> Prediction:
        """What the samples so far say; after :meth:`sample`."""
        sums = Sums(self._probabilities.clone(), self._entropies.clone(), self._used.clone())
        return sums.prediction(self._dtype, self._reasons.clone())

    def _logits(self, samples: Tensor) -> Tensor:
        """(n, k, C) of the inputs that run."""
        x, inputs, size = self._x, self._inputs, self._size

        def forward(x: Tensor, inputs: Tensor, samples: Tensor) -> Tensor:
            return logits_of(self._net, x, seed=self._seed, samples=samples, inputs=inputs)

        parts: list[Tensor] = []
        done = 0
        with torch.no_grad(), evaluation_mode(self._net):
            while done < len(self._active):
                chosen = self._active[done : done + max(1, size.inputs // len(samples))]
                parts.append(size.run(forward, x[chosen], inputs[chosen], samples))
                done += len(chosen)
        return torch.cat(parts)

    def _count(self, logits: Tensor, softmax: Tensor) -> None:
        wide = softmax.double()
        self._probabilities[self._active] += wide
        self._entropies[self._active] += torch.special.entr(wide).sum(1)
        self._used[self._active] += 1
        self._margins.add(logits)
        self.drawn += 1

    def _going(self) -> Tensor:
        """Drop what is over; which of the inputs that ran still do."""
        over = torch.zeros(len(self._active), dtype=torch.bool, device=self._x.device)
        if self._stochastic and self._confidence is not None:
            over = self._margins.settled(self._confidence, self._noise)
            self._reasons[self._active[over]] = int(Reason.SETTLED)
        if self.drawn == self._limit:
            reason = Reason.LIMIT if self._stochastic else Reason.EXACT
            self._reasons[self._active[~over]] = int(reason)
            over = torch.ones_like(over)
        going = ~over
        self._active = self._active[going]
        self._margins.keep(going)
        return going


def predictions(
    net: nn.Module,
    x: Tensor,
    *,
    confidence: float | None = None,
    max_samples: int = MAX_SAMPLES,
    milliseconds: float | None = None,
    noise: MarginNoise | None = None,
    seed: int | torch.Generator | None = 0,
    inputs: Tensor | None = None,
    memory_mib: float = 256.0,
) -> Iterator[Prediction]:
    """Predictions that improve: after the first sample of every input, then after some more of those that are
    not settled, and so on until all are, or time is up.

    The last one is what :func:`predict` gives for the same arguments, unless the deadline came first. Leave
    the loop at any time to stop.

    A deadline is kept by not beginning a pass that would end after it, judged by the time that a sample took
    before; at least one sample of every input is drawn.

    Args:
        net: maps (N, ...) to logits (N, C).
        x: (B, ...), inputs in floating point, finite; B >= 1.
        confidence: in (0, 1), see :func:`predict`; None to go on to ``max_samples``.
        max_samples: most samples of an input, in [1, 2^32].
        milliseconds: time from the first call of ``next`` to the last prediction, > 0; None for any.
        noise: law of the margins' noise; None for the default one.
        seed: seed of the draws, an integer in [0, 2^63) or a generator that gives one.
        inputs: int64 (B,), the inputs' indices in the random streams, see :func:`predict`.
        memory_mib: bound on the tensors of one pass together, see :func:`predict`. The test keeps 8 C^2 bytes
            for each input on top.

    Yields:
        Prediction, whose ``reasons`` say which inputs are settled.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument has a wrong shape or value, or ``net`` gives no logits of shape (N, C).

    >>> import nsm, torch
    >>> net, x = nsm.models.build("digits-mlp"), torch.rand(3, 1, 8, 8)
    >>> [int(p.samples_used.max()) for p in nsm.predictions(net, x, max_samples=10)]
    [1, 2, 3, 4, 5, 6, 7, 8, 10]
    """
    check_net(net)
    check_inputs(net, x, "x")
    if confidence is not None:
        check_confidence(confidence)
    check_samples(max_samples, "max_samples")
    inputs = torch.arange(len(x)) if inputs is None else inputs
    check_indices(inputs, len(x))
    _check_milliseconds(milliseconds)
    seconds = math.inf if milliseconds is None else milliseconds / 1000.0
    seed, bound = random.resolve_seed(seed), memory_bytes(memory_mib)
    return _improving(net, x, confidence, max_samples, checked_noise(noise), seed, inputs, bound, seconds)


def _improving(
    net: nn.Module,
    x: Tensor,
    confidence: float | None,
    max_samples: int,
    noise: MarginNoise,
    seed: int,
    inputs: Tensor,
    bound: int,
    seconds: float,
) -> Iterator[Prediction]:
    started = time.perf_counter()
    size = PassSize(bound, 1, x.device)
    sampler = Sampler(
        net,
        x,
        confidence=confidence,
        max_samples=max_samples,
        noise=noise,
        seed=seed,
        inputs=inputs,
        classes=probe(net, x, seed=seed, size=size),
        size=size,
    )
    running = True
    while running:
        before, drawn = time.perf_counter(), sampler.drawn
        running = sampler.sample()
        now = time.perf_counter()
        # The next pass may draw a quarter more, and one sample at the least.
        expected = (now - before) * max(1.0, _GROWTH * sampler.drawn) / max(1, sampler.drawn - drawn)
        if running and now - started + expected > seconds:
            sampler.stop()
            running = False
        yield sampler.prediction()


def _check_milliseconds(milliseconds: object) -> None:
    if milliseconds is None:
        return
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float)):
        raise TypeError(f"milliseconds must be a number, got {type(milliseconds).__name__}")
    if math.isnan(milliseconds) or milliseconds <= 0:
        raise ValueError(f"milliseconds must be > 0, got {milliseconds}")
