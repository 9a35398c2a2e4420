"""Sampling inputs until each is settled: one sampler, for whole answers and for answers that improve."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from nsm import random
from nsm.inference.checks import (
    MAX_SAMPLES,
    check_improving,
    check_indices,
    check_inputs,
    checked_noise,
    memory_bytes,
)
from nsm.inference.futility import futile
from nsm.inference.margins import Margins, accumulated
from nsm.inference.passes import MIB, PassSize
from nsm.inference.prediction import Prediction, Sums, joined, softmax_of
from nsm.inference.reasons import Reason
from nsm.inference.settling import MarginNoise, settled
from nsm.inference.sources import NetworkSource, Source, probe
from nsm.nn.checks import check_net

# Samples drawn between two looks at the clock, relative to those before: few are drawn in vain, and an input
# that needs hundreds takes few passes.
_GROWTH = 0.25
_STATE_BYTES = 64 * MIB


class Sampler:
    """Draws samples of inputs and drops each once it is settled or given up; arguments are checked.

    The test is made after every single sample, also where a pass draws several, and what was drawn beyond is
    forgotten: passes change no answer.

    Args:
        source: where samples come from.
        places: int64 (B,), inputs of the source.
        confidence: in (0, 1); None to go on to ``max_samples``.
        max_samples: most samples of each input.
        noise: law of the margins' noise.

    Attributes:
        running: whether an input is not settled yet.
        drawn: samples drawn of those that run.
    """

    def __init__(
        self,
        source: Source,
        places: Tensor,
        *,
        confidence: float | None,
        max_samples: int,
        noise: MarginNoise,
    ) -> None:
        self.running, self.drawn = True, 0
        self._source, self._places = source, places.to(source.device)
        self._confidence, self._noise = confidence, noise
        self._limit = min(max_samples, source.most or max_samples) if source.draws else 1
        self._active = torch.arange(len(places), device=source.device)
        self._used = torch.zeros_like(self._active)
        self._reasons = torch.full_like(self._active, Reason.RUNNING)
        self._entropies = torch.zeros(len(places), dtype=torch.float64, device=source.device)
        self._probabilities = self._entropies[:, None].repeat(1, source.classes)
        tested = source.draws and confidence is not None
        self._margins = Margins(len(places), source.classes, source.device) if tested else None
        self._dtype = torch.float32

    @property
    def upcoming(self) -> int:
        """Samples that the next pass draws of each input that runs."""
        source = self._source
        counted = source.classes if self._margins is None else source.classes**2
        fitting = _STATE_BYTES // (max(1, len(self._active)) * 8 * counted)
        wanted = max(1, min(int(_GROWTH * self.drawn), fitting))
        return min(self._limit - self.drawn, -(-wanted // source.together) * source.together)

    def sample(self) -> bool:
        """Draw one more sample of every input that runs, or some more where it has many; whether any input
        still runs.
        """
        count = self.upcoming
        logits = self._source.logits(self._places[self._active], range(self.drawn, self.drawn + count))
        self.drawn += count
        reasons = self._reasons_after(logits)
        going = reasons == Reason.RUNNING
        # What was drawn after the sample that ended it is forgotten.
        taken = (going.cumprod(1).sum(1) + 1).clamp(max=count)
        self._count(softmax_of(logits), taken)
        last = reasons.gather(1, taken[:, None] - 1)[:, 0]
        self._reasons[self._active] = last
        still = last == Reason.RUNNING
        self._active = self._active[still]
        if self._margins is not None:
            self._margins.keep(still)
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

    def _count(self, softmax: Tensor, taken: Tensor) -> None:
        """Add the first ``taken`` (n,) of the samples (n, k, C)."""
        self._dtype = softmax.dtype
        wide, last = softmax.double(), taken[:, None] - 1
        probabilities = accumulated(self._probabilities[self._active], wide)
        entropies = accumulated(self._entropies[self._active], torch.special.entr(wide).sum(2))
        chosen = last[..., None].expand(-1, 1, wide.shape[2])
        self._probabilities[self._active] = probabilities.gather(1, chosen)[:, 0]
        self._entropies[self._active] = entropies.gather(1, last)[:, 0]
        self._used[self._active] += taken

    def _reasons_after(self, logits: Tensor) -> Tensor:
        """The reason to end after each of the samples (n, k, C): int64 (n, k)."""
        reasons = torch.full(logits.shape[:2], int(Reason.RUNNING), device=logits.device)
        if self.drawn == self._limit:
            reasons[:, -1] = int(Reason.LIMIT if self._source.draws else Reason.EXACT)
        if self._margins is not None and self._confidence is not None:
            standing = self._margins.add(logits)
            given_up = futile(standing, self._limit, self._confidence, self._noise)
            reasons[given_up] = int(Reason.FUTILE)
            reasons[settled(standing, self._confidence, self._noise)] = int(Reason.SETTLED)
        return reasons


def settle(
    source: Source, count: int, *, confidence: float, max_samples: int, noise: MarginNoise
) -> Prediction:
    """The answers for all ``count`` inputs of a source, each sampled until it is settled."""
    parts = []
    for places in torch.split(torch.arange(count), inputs_at_once(source)):
        sampler = Sampler(source, places, confidence=confidence, max_samples=max_samples, noise=noise)
        while sampler.sample():
            pass
        parts.append(sampler.prediction())
    return joined(parts, source.device)


def inputs_at_once(source: Source) -> int:
    """Inputs that may be sampled side by side, each with a product for every pair of classes."""
    return max(1, _STATE_BYTES // (8 * source.classes**2 * source.together))


def improving(
    make: Callable[[], Source],
    count: int,
    *,
    confidence: float | None,
    max_samples: int,
    noise: MarginNoise,
    milliseconds: float | None,
) -> Iterator[Prediction]:
    """The answers for all ``count`` inputs of a source, after every pass, until all are settled or time
    is up.

    Args:
        make: gives the source, in the time that counts.
        count: of its inputs.
        confidence: in (0, 1); None to go on to ``max_samples``.
        max_samples: most samples of each input.
        noise: law of the margins' noise.
        milliseconds: from the first call of ``next`` to the last prediction; None for any.
    """
    started = time.perf_counter()
    seconds = math.inf if milliseconds is None else milliseconds / 1000.0
    sampler = Sampler(
        make(), torch.arange(count), confidence=confidence, max_samples=max_samples, noise=noise
    )
    expected = -math.inf  # seconds that the next pass takes; the first one is taken whatever it takes
    while sampler.running:
        before, drawn = time.perf_counter(), sampler.drawn
        if before - started + expected > seconds:  # the caller was busy with the last prediction
            sampler.stop()
        else:
            running = sampler.sample()
            now = time.perf_counter()
            # A sample of the next pass takes no longer than one of this.
            expected = (now - before) * sampler.upcoming / (sampler.drawn - drawn)
            if running and now - started + expected > seconds:
                sampler.stop()
        yield sampler.prediction()


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
            for each input on top, and takes about five times that while it counts a sample.

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
    check_improving(confidence, max_samples, milliseconds)
    inputs = torch.arange(len(x)) if inputs is None else inputs
    check_indices(inputs, len(x))
    noise, bound, seed = checked_noise(noise), memory_bytes(memory_mib), random.resolve_seed(seed)

    def source() -> Source:
        size = PassSize(bound, 1, x.device)
        classes = probe(net, x, seed=seed, size=size)
        return NetworkSource(net, x, inputs=inputs, seed=seed, size=size, classes=classes)

    return improving(
        source,
        len(x),
        confidence=confidence,
        max_samples=max_samples,
        noise=noise,
        milliseconds=milliseconds,
    )
