"""One failure budget for every statistical test of the suite.

The suite makes some thousands of single comparisons (Bonferroni: every comparison's level is the suite's
level divided by :data:`COMPARISONS`). Seeds are fixed, so a passing suite keeps passing; the budget says how
likely a correct library would have failed when a seed was first chosen.
"""

from __future__ import annotations

import math

import torch
from scipy import stats
from torch import Tensor

SUITE_LEVEL = 1e-3
COMPARISONS = 20_000
LEVEL = SUITE_LEVEL / COMPARISONS


def assert_frequencies(fired: Tensor, trials: int, probability: Tensor, *, slack: float = 0.0) -> None:
    """Counts of +1 among ``trials`` agree with their binomial law, exactly, one two-sided test for each.

    Args:
        fired: counts, any shape.
        trials: independent trials behind each count.
        probability: exact P(z' = 1) of each, same shape.
        slack: known error of the law itself (the central limit theorem's), allowed on either side.
    """
    counts, p = fired.flatten().double().numpy(), probability.flatten().double().numpy()
    low = stats.binom.cdf(counts, trials, (p - slack).clip(0.0, 1.0))
    high = stats.binom.sf(counts - 1, trials, (p + slack).clip(0.0, 1.0))
    worst = 2.0 * float(min(low.min(), high.min())) if slack == 0.0 else float(min(low.min(), high.min()))
    assert worst > LEVEL, (
        f"a firing frequency has p-value {worst:.2g} under the exact law (level {LEVEL:.2g})"
    )


def assert_uncorrelated(left: Tensor, right: Tensor) -> None:
    """Two +-1 sequences of independent trials, paired, do not correlate beyond chance."""
    n = len(left)
    r = torch.corrcoef(torch.stack((left.double(), right.double())))[0, 1].item()
    p_value = math.erfc(abs(r) * math.sqrt(n / 2.0))
    assert p_value > LEVEL, f"correlation {r:.3g} over {n} trials has p-value {p_value:.2g}"
