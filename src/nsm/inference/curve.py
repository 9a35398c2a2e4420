"""Error and likelihood against the number of samples, from one set of draws."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from torch import Tensor

from nsm.measures.surprise import surprise


class CurvePoint(NamedTuple):
    """Error and likelihood when fewer samples are averaged.

    Attributes:
        samples: number m of samples averaged.
        error_percent: images whose most probable class is wrong, in percent.
        nll: mean negative log-likelihood of the true class, in nats.
        groups: disjoint groups of m consecutive samples, each scored by itself, over which both are averaged.
    """

    samples: int
    error_percent: float
    nll: float
    groups: int


class Curve:
    """Errors and negative log-likelihoods of groups of samples, summed over images."""

    def __init__(self) -> None:
        self._sums: dict[int, tuple[float, float]] = {}
        self._samples = 0

    def add(self, votes: Tensor, targets: Tensor) -> None:
        """Score the samples (n, S, C) of some images with classes (n,)."""
        self._samples = votes.shape[1]
        wide = votes.double()
        for size in _sizes_below(self._samples):
            groups = self._samples // size
            means = wide[:, : groups * size].view(len(wide), groups, size, -1).mean(2)
            errors, nll = self._sums.get(size, (0.0, 0.0))
            repeated = targets[:, None].expand(-1, groups)
            errors += int((means.argmax(-1) != repeated).sum()) / groups
            nll += float(surprise(means, repeated).sum()) / groups
            self._sums[size] = (errors, nll)

    def points(self, n: int, error_percent: float, nll: float) -> tuple[CurvePoint, ...]:
        """The curve of ``n`` images, which ends in the scores of all samples."""
        fewer = (
            CurvePoint(size, 100.0 * errors / n, surprise / n, self._samples // size)
            for size, (errors, surprise) in self._sums.items()
        )
        return (*fewer, CurvePoint(self._samples, error_percent, nll, 1))


def _sizes_below(samples: int) -> list[int]:
    """1, 2, 3, 5, then 10, 20, 50 and so on by decades, below ``samples``."""
    decades = (factor * 10**exponent for exponent in itertools.count(1) for factor in (1, 2, 5))
    return list(itertools.takewhile(lambda size: size < samples, itertools.chain((1, 2, 3, 5), decades)))
