"""A program as a source of samples: some at a time, of some inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nsm.engine import plain
from nsm.engine.layout import InputError, Kernels
from nsm.engine.steps import Step, shapes

_QUAD = 4  # samples drawn together, and what they begin at a multiple of


class ProgramSource:
    """The samples of a program, see :class:`nsm.inference.sources.Source`; arguments are checked.

    Args:
        steps: of a checked program.
        kernels: the same laid out for the kernels; None for plain torch.
        instruction_set: that the kernels use.
        x: float32 (B, channels, height, width), contiguous.
        inputs: int64 (B,), the inputs' indices in the random streams.
        seed: in [0, 2^63).
    """

    def __init__(
        self,
        steps: Sequence[Step],
        kernels: Kernels | None,
        instruction_set: str,
        x: Tensor,
        *,
        inputs: Tensor,
        seed: int,
    ) -> None:
        self.classes = shapes(steps[-1])[1][0]
        self.device, self.draws, self.together = x.device, True, _QUAD
        self.most: int | None = None
        self._steps, self._kernels, self._instruction_set = steps, kernels, instruction_set
        self._x, self._inputs, self._seed = x, inputs, seed

    def logits(self, places: Tensor, samples: range) -> Tensor:
        """(n, k, C), the same whatever else is asked for.

        Raises:
            InputError: if an input is not finite, or so large that the first layer overflows.
        """
        if self._kernels is None:
            return torch.cat([self._plain(place, samples) for place in places.tolist()])
        try:
            *_, logits = self._kernels.run(
                self._x[places],
                self._inputs[places],
                samples=samples,
                seed=self._seed,
                keep=True,
                instruction_set=self._instruction_set,
            )
        except InputError as error:
            raise InputError(int(places[error.number]), error.what) from None
        assert logits is not None
        return logits

    def _plain(self, place: int, samples: range) -> Tensor:
        """(1, k, C), of one input."""
        chosen = slice(place, place + 1)
        x, numbers = self._x[chosen], torch.arange(samples.start, samples.stop)
        if not x.isfinite().all():
            raise InputError(place, "holds NaN or infinity")
        try:
            return plain.logits(self._steps, x, samples=numbers, inputs=self._inputs[chosen], seed=self._seed)
        except FloatingPointError as error:
            raise InputError(place, f"is too large: {error}") from error
