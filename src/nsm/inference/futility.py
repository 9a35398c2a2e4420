"""When an input is given up: its class will hardly be settled by the samples that are left.

Given n samples of a margin, and nothing known of its mean beforehand, its mean over N samples is normal
around the mean so far, in units of the noise scale sigma: delta = S / (n sigma), with variance
h^2 = 1/n - 1/N. Mean margins over more and more samples are a martingale with symmetric steps, and the mean
c_n that settles a class falls with n. Whenever a class is settled before N, its mean after N samples is
therefore above c_N with a chance of at least 1/2, and the chance that it is ever settled against another is
at most

    2 Phi((delta - c_N) / h)

The leading class has to be settled against all others, another one against the leading class at least. The
chance that any is settled is at most the least of the former and the sum of the latter.

Giving up declares no class, so that the promise of a confidence is untouched, however often it is asked. And
since the chance given the samples so far is at most :data:`CHANCE` where an input is given up, so is, by
this reckoning, the share of the inputs given up that ``max_samples`` would have settled.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

from nsm.inference.margins import Standing
from nsm.inference.settling import LOOKS, MarginNoise, critical_ratio, odds, ratios

CHANCE = 0.05


def futile(standing: Standing, max_samples: int, confidence: float, noise: MarginNoise) -> Tensor:
    """Whether the chance that ``max_samples`` settle an input is at most :data:`CHANCE`, after each sample:
    bool (n, k); False after the last one.

    Args:
        standing: the margins.
        max_samples: N.
        confidence: in (0, 1).
        noise: law of the noise scale.
    """
    classes = standing.total.shape[2]
    n = standing.samples.double()
    asked = (n >= _earliest(max_samples, classes, confidence, noise)) & (n < max_samples)
    if not asked.any():
        return torch.zeros_like(standing.lead, dtype=torch.bool)
    n = n[:, None]
    least = _least_mean(max_samples, odds(classes, confidence), noise)
    width = (1.0 / n - 1.0 / max_samples).clamp(min=0.0).sqrt()
    # Of the leading class; infinite over itself.
    ratio = ratios(standing, noise)
    mean = ((noise.dof + n - 1.0) * ratio / (n - ratio)).sqrt() / n.sqrt()
    mean = mean.scatter(2, standing.lead[..., None], math.inf)
    leading = 2.0 * torch.special.ndtr((mean.amin(2)[..., None] - least) / width)[..., 0]
    overtaking = 2.0 * torch.special.ndtr((-mean - least) / width).sum(2)
    given_up: Tensor = (leading + overtaking <= CHANCE) & asked
    return given_up


@lru_cache(maxsize=256)
def _earliest(max_samples: int, classes: int, confidence: float, noise: MarginNoise) -> float:
    """Samples before which not even two tied classes are given up."""
    if classes == 1:
        return math.inf
    least = _least_mean(max_samples, odds(classes, confidence), noise)
    quantile = float(torch.special.ndtri(torch.tensor(1.0 - CHANCE / 4.0, dtype=torch.float64)))
    return 1.0 / ((least / quantile) ** 2 + 1.0 / max_samples)


@lru_cache(maxsize=256)
def _least_mean(max_samples: int, least_odds: float, noise: MarginNoise) -> float:
    """c_N: the smallest mean margin, in units of its noise, that settles a class by N samples."""

    def mean(n: int) -> float:
        ratio = critical_ratio(n, least_odds, noise)
        return math.sqrt((noise.dof + n - 1.0) * ratio / (n - ratio) / n) if ratio < n else math.inf

    return min(mean(n) for n in {max_samples, *range(1, min(LOOKS, max_samples) + 1)})
