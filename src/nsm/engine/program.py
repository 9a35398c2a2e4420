"""A compiled network: what it predicts, and what that costs."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from nsm import random
from nsm.engine import files, plain
from nsm.engine.checks import check
from nsm.engine.layout import Kernels
from nsm.engine.steps import Shape, Step, shapes
from nsm.inference import Prediction, Reason
from nsm.inference.checks import check_indices, check_samples
from nsm.inference.prediction import over_inputs, over_samples, part_of
from nsm.native import paths

_PLAIN_SAMPLES = 50  # in one pass of plain torch


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
        samples: int = 100,
        seed: int | torch.Generator | None = 0,
        votes: bool = False,
        inputs: Tensor | None = None,
    ) -> Prediction:
        """Average the softmax of ``samples`` passes, as :func:`nsm.predict` does.

        Sample s of input i is a function of (seed, s, i) alone: the same whatever the batch, the threads and
        the instruction set. Its random numbers are not those that the network itself would draw.

        Args:
            x: float32 (B, channels, height, width), or (B, channels) for a program on vectors; finite, on
                the CPU.
            samples: S, in [1, 2^32].
            seed: an integer in [0, 2^63) or a generator that gives one.
            votes: whether to keep the softmax of every sample.
            inputs: int64 (B,), the inputs' indices in the random streams; None for 0 to B - 1.

        Returns:
            Prediction in float32.

        Raises:
            TypeError: if an argument has the wrong type.
            ValueError: if an argument has a wrong shape or value.
        """
        _check_kind(x)
        count = x.shape[0] if x.dim() else 0
        if x.shape[1:] != self.shape or not count:
            wanted = ", ".join(map(str, self.shape))
            raise ValueError(f"x must have shape (B, {wanted}) with B >= 1, got {tuple(x.shape)}")
        check_samples(samples)
        if inputs is not None:
            check_indices(inputs, count)
            inputs = inputs.contiguous()
        seed = random.resolve_seed(seed)
        x = x.contiguous()
        extension = paths.kernels()
        if extension is None:
            numbered = torch.arange(count) if inputs is None else inputs
            return self._plain(x, numbered, samples=samples, seed=seed, votes=votes)
        kernels, instruction_set = self._laid_out(extension), paths.instruction_set()
        probabilities, entropies, logits = kernels.run(
            x, inputs, samples=samples, seed=seed, keep=votes, instruction_set=instruction_set
        )
        entropy, expected_entropy, mutual_information = entropies.unbind()
        return Prediction(
            probabilities=probabilities,
            entropy=entropy,
            expected_entropy=expected_entropy,
            mutual_information=mutual_information,
            samples_used=torch.full((count,), samples),
            votes=None if logits is None else logits.softmax(-1),
            reasons=torch.full((count,), Reason.SAMPLES),
        )

    def _plain(self, x: Tensor, inputs: Tensor, *, samples: int, seed: int, votes: bool) -> Prediction:
        """Without kernels: some tens of rows at a time."""
        if not x.isfinite().all():
            first = int((~x.isfinite().flatten(1).all(1)).nonzero()[0])
            raise ValueError(f"x must be finite, but input {first} holds NaN or infinity")
        parts = []
        images = x.view(len(x), 1, *self.image)
        for number, (image, index) in enumerate(zip(images, inputs.view(-1, 1), strict=True)):
            passes = []
            for first in range(0, samples, _PLAIN_SAMPLES):
                part = torch.arange(first, min(samples, first + _PLAIN_SAMPLES))
                try:
                    logits = plain.logits(self.steps, image, samples=part, inputs=index, seed=seed)
                except FloatingPointError as error:
                    raise ValueError(f"x must be finite, but input {number} is too large: {error}") from error
                passes.append(part_of(logits, votes=votes))
            parts.append(over_samples(passes))
        return over_inputs(parts, samples, Reason.SAMPLES, votes=votes)

    def _laid_out(self, extension: ModuleType) -> Kernels:
        if self._kernels is None:
            self._kernels = Kernels(extension, self.steps)
        return self._kernels


def _check_kind(x: object) -> None:
    if not isinstance(x, Tensor) or x.dtype != torch.float32 or x.device.type != "cpu":
        got = f"{x.dtype} on {x.device}" if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x must be a float32 tensor on the CPU, got {got}")
