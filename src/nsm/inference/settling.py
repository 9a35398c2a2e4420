"""When the leading class of an input is settled: a sequential test that may be looked at after every sample.

The margin of class c over class r in one sample is the difference of their logits. It is a sum over many
noisy neurons, hence close to normal, with a mean and a noise scale that differ from input to input. For one
pair of classes and n samples with margins g_s, S = sum_s g_s and Q = sum_s g_s^2, the test compares two
hypotheses under the same law of the noise scale, nu s0^2 / sigma^2 ~ chi^2(nu):

    H0: the mean is 0            H1: mean / sigma ~ N(0, k^2), k = 1/2 or 4 with equal chances

The wide law is for clear inputs, which few samples settle, the narrow one for ambiguous ones. For one k the
Bayes factor is that of the t-test with a normal prior on the effect (Gonen et al., The American Statistician
59, 2005), with the law of sigma made proper; B is the mean over both k:

    B_k = (1 + n k^2)^(-1/2) (1 - k^2 S^2 / ((1 + n k^2) (nu s0^2 + Q)))^(-(n + nu) / 2)

H1 restricted to positive effects has the factor B+ >= 2 B - 1 where S > 0, because the other half's factor is
at most 1 there. B+ is a nonnegative martingale of mean 1 where the mean is 0, so by Ville's inequality it
ever reaches K with probability at most 1/K, however often it is looked at (Robbins, Annals of Mathematical
Statistics 41, 1970; Ramdas et al., Statistical Science 38, 2023). A negative mean only makes it smaller:
shifting all margins down makes S / sqrt(nu s0^2 + Q) smaller, and B+ rises with it.

Class c is settled when 2 B - 1 >= (C - 1) / (1 - confidence) against every other class. A class that does not
lead would have to pass against the one that does, which each of C - 1 classes does with probability at most
(1 - confidence) / (C - 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# k: a clear image has a mean margin of 4 to 10 noise scales; one that takes a hundred samples, less than 1/2.
_EFFECTS = (0.5, 4.0)


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


def log_bayes_factor(n: int, total: Tensor, squares: Tensor, noise: MarginNoise) -> Tensor:
    """ln B of the margins of one pair of classes.

    Args:
        n: number of samples, >= 1.
        total: S, float64, any shape.
        squares: Q, the same shape.
        noise: law of the noise scale.
    """
    ratio = total.square() / (noise.dof * noise.scale**2 + squares)
    factors = []
    for effect in _EFFECTS:
        spread = 1.0 + n * effect**2
        explained = effect**2 / spread * ratio
        factors.append(-0.5 * math.log(spread) - 0.5 * (n + noise.dof) * torch.log1p(-explained))
    return torch.stack(factors).logsumexp(0) - math.log(len(factors))


class Margins:
    """Margins of every pair of C classes for some inputs, over the samples seen so far.

    Args:
        inputs: their number N.
        classes: C.
        device: where they are kept.
    """

    def __init__(self, inputs: int, classes: int, device: torch.device) -> None:
        self.samples = 0
        self._total = torch.zeros(inputs, classes, dtype=torch.float64, device=device)
        self._products = torch.zeros(inputs, classes, classes, dtype=torch.float64, device=device)

    def add(self, logits: Tensor) -> None:
        """Count one more sample, (N, C)."""
        # A common shift of an input's logits changes no margin, and without it products stay small.
        wide = logits.double() - logits.double().mean(1, keepdim=True)
        self.samples += 1
        self._total += wide
        self._products.baddbmm_(wide[:, :, None], wide[:, None, :])

    def keep(self, chosen: Tensor) -> None:
        """Forget all inputs but ``chosen``, bool (N,)."""
        self._total, self._products = self._total[chosen], self._products[chosen]

    def settled(self, confidence: float, noise: MarginNoise) -> Tensor:
        """Whether the class of the largest mean logit is settled: bool (N,).

        Args:
            confidence: in (0, 1).
            noise: law of the noise scale.
        """
        classes = self._total.shape[1]
        if classes == 1:
            return torch.ones(len(self._total), dtype=torch.bool, device=self._total.device)
        lead = self._total.argmax(1, keepdim=True)
        total = self._total.gather(1, lead) - self._total
        own = torch.diagonal(self._products, dim1=1, dim2=2)
        with_lead = self._products.gather(1, lead[:, :, None].expand(-1, 1, classes))[:, 0]
        squares = (own.gather(1, lead) - 2.0 * with_lead + own).clamp(min=0.0)
        factor = log_bayes_factor(self.samples, total, squares, noise)
        bound = math.log(((classes - 1) / (1.0 - confidence) + 1.0) / 2.0)
        return factor.scatter(1, lead, math.inf).amin(1) >= bound
