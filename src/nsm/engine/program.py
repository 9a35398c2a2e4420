"""A compiled network: what it predicts, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from nsm import random
from nsm.engine import files
from nsm.engine.checks import check
from nsm.engine.layout import Kernels
from nsm.engine.sampling import ProgramSource
from nsm.engine.steps import Shape, Step, shapes
from nsm.inference import MarginNoise, Prediction, Reason
from nsm.inference.checks import (
    MAX_SAMPLES,
    check_improving,
    check_indices,
    check_sequential,
    check_votes,
    checked_noise,
    fixed_samples,
)
from nsm.inference.prediction import over_inputs, over_samples, part_of
from nsm.inference.sequential import improving, settle
from nsm.native import paths

_PLAIN_SAMPLES = 48  # in one pass of plain torch


class Program:
    """A network as steps of small integers; made by :func:`nsm.compile` or read by :meth:`load`.

    Attributes:
        steps: what it does, in order.
        image: (channels, height, width) of an input.
        shape: of an input as :meth:`predict` takes it, without the batch: ``image``, or (channels,).
        vector: whether inputs are vectors (B, channels) instead of images.
        classes: number of classes.
    """

    def __init__(self, steps: tuple[Step, ...], *, vector: bool = False) -> None:
        check(steps)
        self.steps, self.vector = steps, vector
        self.image: Shape = shapes(steps[0])[0]
        if vector and self.image[1:] != (1, 1):
            raise ValueError(f"a vector must be an image of one pixel, got {self.image}")
        self.classes: int = shapes(steps[-1])[1][0]
        self.shape = self.image[:1] if vector else self.image
        self._kernels: Kernels | None = None

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_kernels": None}  # addresses of this process; made again when they are needed

    @classmethod
    def load(cls, path: str | Path) -> Program:
        """The program in a file that :meth:`save` wrote.

        Raises:
            ProgramFileError: if the file cannot be read, is damaged, or is no program file.
        """
        steps, vector = files.read(Path(path))
        return cls(steps, vector=vector)

    def save(self, path: str | Path) -> None:
        """Write the program to a file, see ``docs/format.md``; a reader never meets half of it."""
        files.write(Path(path), self.steps, vector=self.vector)

    def predict(
        self,
        x: Tensor,
        *,
        samples: int | None = None,
        confidence: float | None = None,
        max_samples: int | None = None,
        noise: MarginNoise | None = None,
        seed: int | torch.Generator | None = 0,
        votes: bool = False,
        inputs: Tensor | None = None,
    ) -> Prediction:
        """Average the softmax of a fixed number of ``samples``, or of as many as each input needs for a
        ``confidence``, as :func:`nsm.predict` does.

        Sample s of input i is a function of (seed, s, i) alone: the same whatever the batch, the threads and
        the instruction set, and so is the number of samples that an input needs. Its random numbers are not
        those that the network itself would draw.

        Args:
            x: float32 (B, channels, height, width), or (B, channels) for a program on vectors; finite, on
                the CPU.
            samples: S, in [1, 2^32]; None for 100, unless a confidence is given instead.
            confidence: in (0, 1), to sample each input until its leading class is settled; None for a fixed
                number of samples.
            max_samples: most samples of an input, in [1, 2^32], with a confidence; None for 1000.
            noise: law of the margins' noise, with a confidence, measured on the network by
                :func:`nsm.fit_margin_noise`; None for the default one.
            seed: an integer in [0, 2^63) or a generator that gives one.
            votes: whether to keep the softmax of every sample; not with a confidence.
            inputs: int64 (B,), the inputs' indices in the random streams; None for 0 to B - 1.

        Returns:
            Prediction in float32.

        Raises:
            TypeError: if an argument has the wrong type.
            ValueError: if an argument has a wrong shape or value or does not go with another.
        """
        check_votes(votes)
        if confidence is None:
            samples = fixed_samples(samples, max_samples, noise)
            x, inputs = self._checked(x, inputs)
            return self._average(x, inputs, samples=samples, seed=random.resolve_seed(seed), votes=votes)
        max_samples = check_sequential(confidence, max_samples, samples, votes=votes)
        noise = checked_noise(noise)
        source = self._source(*self._checked(x, inputs), random.resolve_seed(seed))
        return settle(source, len(x), confidence=confidence, max_samples=max_samples, noise=noise)

    def predictions(
        self,
        x: Tensor,
        *,
        confidence: float | None = None,
        max_samples: int = MAX_SAMPLES,
        milliseconds: float | None = None,
        noise: MarginNoise | None = None,
        seed: int | torch.Generator | None = 0,
        inputs: Tensor | None = None,
    ) -> Iterator[Prediction]:
        """Predictions that improve, as those of :func:`nsm.predictions`: after up to four samples of every
        input, which take no longer than one, and so on until all are settled, or time is up.

        Args:
            x: as in :meth:`predict`.
            confidence: in (0, 1); None to go on to ``max_samples``.
            max_samples: most samples of an input, in [1, 2^32].
            milliseconds: time from the first call of ``next`` to the last prediction, > 0; None for any.
            noise: law of the margins' noise; None for the default one.
            seed: an integer in [0, 2^63) or a generator that gives one.
            inputs: int64 (B,), the inputs' indices in the random streams; None for 0 to B - 1.

        Yields:
            Prediction in float32, whose ``reasons`` say which inputs are settled.

        Raises:
            TypeError: if an argument has the wrong type.
            ValueError: if an argument has a wrong shape or value.
        """
        check_improving(confidence, max_samples, milliseconds)
        noise = checked_noise(noise)
        source = self._source(*self._checked(x, inputs), random.resolve_seed(seed))
        return improving(
            lambda: source,
            len(x),
            confidence=confidence,
            max_samples=max_samples,
            noise=noise,
            milliseconds=milliseconds,
        )

    def _checked(self, x: Tensor, inputs: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Contiguous inputs and their indices; refuses what cannot be run."""
        _check_kind(x)
        count = x.shape[0] if x.dim() else 0
        if x.shape[1:] != self.shape or not count:
            wanted = ", ".join(map(str, self.shape))
            raise ValueError(f"x must have shape (B, {wanted}) with B >= 1, got {tuple(x.shape)}")
        if inputs is not None:
            check_indices(inputs, count)
            inputs = inputs.contiguous()
        return x.contiguous(), inputs

    def _average(
        self, x: Tensor, inputs: Tensor | None, *, samples: int, seed: int, votes: bool
    ) -> Prediction:
        """A fixed number of samples."""
        chosen = paths.chosen()
        if chosen is None:
            return self._average_slowly(x, inputs, samples=samples, seed=seed, votes=votes)
        probabilities, entropies, logits = self._laid_out(chosen.kernels).run(
            x,
            inputs,
            samples=range(samples),
            seed=seed,
            keep=votes,
            instruction_set=chosen.instruction_set,
        )
        count = len(x)
        return Prediction(
            probabilities=probabilities,
            entropy=entropies.whole,
            expected_entropy=entropies.expected,
            mutual_information=entropies.mutual,
            samples_used=torch.full((count,), samples),
            votes=None if logits is None else logits.softmax(-1),
            reasons=torch.full((count,), Reason.SAMPLES),
        )

    def _average_slowly(
        self, x: Tensor, inputs: Tensor | None, *, samples: int, seed: int, votes: bool
    ) -> Prediction:
        """Without kernels: some tens of rows at a time."""
        source = self._source(x, inputs, seed)
        numbers = [
            range(first, min(samples, first + _PLAIN_SAMPLES)) for first in range(0, samples, _PLAIN_SAMPLES)
        ]
        parts = [
            over_samples([part_of(source.logits(place, some), votes=votes) for some in numbers])
            for place in torch.split(torch.arange(len(x)), 1)
        ]
        return over_inputs(parts, samples, Reason.SAMPLES, votes=votes)

    def _source(self, x: Tensor, inputs: Tensor | None, seed: int) -> ProgramSource:
        inputs = torch.arange(len(x)) if inputs is None else inputs
        kernels, used = None, "off"
        if (chosen := paths.chosen()) is not None:
            kernels, used = self._laid_out(chosen.kernels), chosen.instruction_set
        return ProgramSource(self.steps, kernels, used, x.view(-1, *self.image), inputs=inputs, seed=seed)

    def _laid_out(self, extension: ModuleType) -> Kernels:
        if self._kernels is None:
            self._kernels = Kernels(extension, self.steps)
        return self._kernels


def _check_kind(x: object) -> None:
    if not isinstance(x, Tensor) or x.dtype != torch.float32 or not x.is_cpu:
        got = f"{x.dtype} on {x.device}" if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x must be a float32 tensor on the CPU, got {got}")
