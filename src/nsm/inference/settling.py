"""When the leading class of an input is settled: a sequential test that may be looked at after every sample.

The margin of class c over class r in one sample is the difference of their logits. It is a sum over many
noisy neurons, hence close to normal, with a mean and a noise scale that differ from input to input. For one
pair of classes and n samples with margins g_s, S = sum_s g_s and Q = sum_s g_s^2, two hypotheses are compared
under the same law of the noise scale, nu s0^2 / sigma^2 ~ chi^2(nu):

    H0: the mean is 0            H1: mean / sigma ~ N(0, 1)

All that is looked at is the ratio R = S^2 / (nu s0^2 + Q). The Bayes factor is that of the t-test with a
normal prior on the effect (Gonen et al., The American Statistician 59, 2005), with the law of sigma made
proper:

    B = (1 + n)^(-1/2) (1 - R / (1 + n))^(-(n + nu) / 2)

H1 restricted to positive effects has the factor B+ >= 2 B - 1 where S > 0, because the other half's factor is
at most 1 there. B+ is a nonnegative martingale of mean 1 where the mean is 0, so by Ville's inequality it
ever reaches K with probability at most 1/K, however often it is looked at (Robbins, Annals of Mathematical
Statistics 41, 1970; Ramdas et al., Statistical Science 38, 2023).

Such a factor spends little of its 1/K on the first samples, which settle most inputs. Half of the chance to
err is therefore given to single looks: after n <= 8 samples

    t = sqrt((nu + n - 1) R / (n - R))

has Student's law with nu + n - 1 degrees of freedom where the mean is 0 (Smyth, Statistical Applications in
Genetics and Molecular Biology 3, 2004), and exceeds its critical value with probability 2^-(n + 1) / K. The
other half is the factor's, which has to reach 2 K. Together a class passes with probability at most 1/K.

A negative mean only makes that smaller: shifting all margins down makes S / sqrt(nu s0^2 + Q) smaller, and
B+ and t rise with it.

Class c is settled when it passes with K = (C - 1) / (1 - confidence) against every other class. A class that
does not lead would have to pass against the one that does, which each of C - 1 classes does with probability
at most (1 - confidence) / (C - 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from scipy.special import stdtrit
from torch import Tensor

from nsm.inference.margins import Standing

LOOKS = 8  # single ones; those after them would be given next to nothing
_FACTOR_SHARE = 0.5


@dataclass(frozen=True)
class MarginNoise:
    """How noisy the margins between logits are, from input to input: nu s0^2 / sigma^2 ~ chi^2(nu).

    The promise of a confidence holds on average over this law. Too small a scale makes decisions after a few
    samples too bold, too large a one asks for more samples than needed; after ``dof`` samples an input's own
    noise counts more. The default suits the networks measured in ``docs/confidence.md``; for another,
    :func:`fit_margin_noise` measures it.

    Attributes:
        scale: s0, typical standard deviation of a margin, in nats, > 0.
        dof: nu, degrees of freedom, how much inputs are alike, > 0.

    Raises:
        ValueError: if one is not finite and positive.
    """

    scale: float = 1.5
    dof: float = 10.0

    def __post_init__(self) -> None:
        for name in ("scale", "dof"):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not (number and math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a finite number > 0, got {value!r}")


def odds(classes: int, confidence: float) -> float:
    """K, what a class has to reach against each of the others."""
    return (classes - 1) / (1.0 - confidence)


def ratios(standing: Standing, noise: MarginNoise) -> Tensor:
    """R of the leading class against each, float64 (n, k, C); infinite against itself."""
    ratio = standing.total.square() / (noise.dof * noise.scale**2 + standing.squares)
    return ratio.scatter(2, standing.lead[..., None], math.inf)


def settled(standing: Standing, confidence: float, noise: MarginNoise) -> Tensor:
    """Whether the leading class is settled after each sample: bool (n, k).

    Args:
        standing: the margins.
        confidence: in (0, 1).
        noise: law of the noise scale.
    """
    classes = standing.total.shape[2]
    if classes == 1:
        return torch.ones_like(standing.lead, dtype=torch.bool)
    least = ratios(standing, noise).amin(2)
    bounds = [critical_ratio(n, odds(classes, confidence), noise) for n in standing.samples.tolist()]
    return least >= torch.tensor(bounds, dtype=least.dtype, device=least.device)


@lru_cache(maxsize=4096)
def critical_ratio(n: int, least_odds: float, noise: MarginNoise) -> float:
    """The R from which on a class passes after n samples; above n, which R never is, where it cannot.

    Args:
        n: number of samples, >= 1.
        least_odds: K.
        noise: law of the noise scale.
    """
    # ln B = bound, solved for R.
    bound = math.log((least_odds / _FACTOR_SHARE + 1.0) / 2.0)
    ratio = -(1.0 + n) * math.expm1(-(2.0 * bound + math.log1p(n)) / (n + noise.dof))
    if n > LOOKS:
        return ratio
    level, dof = 2.0 ** -(n + 1) / least_odds, noise.dof + n - 1.0
    squared = float(stdtrit(dof, level)) ** 2
    return min(ratio, n * squared / (dof + squared))
