"""Student's t distribution, as far as the test needs it: exact critical values."""

from __future__ import annotations

import math
from functools import lru_cache

_SMALLEST = 1e-300
_PRECISION = 1e-15


def upper_tail(t: float, dof: float) -> float:
    """P(T > t) for t >= 0, to a relative 1e-12: half the incomplete beta function I_x(dof / 2, 1 / 2) at
    x = dof / (dof + t^2).
    """
    a, b = dof / 2.0, 0.5
    x, y = dof / (dof + t * t), t * t / (dof + t * t)
    if y == 0.0:
        return 0.5
    log_power = a * math.log(x) + b * math.log(y)
    front = math.exp(log_power + math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b))
    if x < (a + 1.0) / (a + b + 2.0):
        return 0.5 * front * _fraction(a, b, x) / a
    return 0.5 - 0.5 * front * _fraction(b, a, y) / b


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of I_x(a, b), 1 / (1 + d_1 / (1 + d_2 / ...)), from front to back by Lentz's
    method; its coefficients: Abramowitz and Stegun, 26.5.8.
    """
    value, c, d = 1.0, math.inf, 1.0
    for step in range(1, 10_000):
        m = step // 2
        if step % 2:
            coefficient = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        else:
            coefficient = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        d = 1.0 / _away_from_0(1.0 + coefficient * d)
        c = _away_from_0(1.0 + coefficient / c)
        value *= c * d
        if abs(c * d - 1.0) < _PRECISION:
            break
    return value


def _away_from_0(value: float) -> float:
    return value if abs(value) > _SMALLEST else _SMALLEST


@lru_cache(maxsize=1024)
def critical_value(level: float, dof: float) -> float:
    """t >= 0 with P(T > t) = ``level``, in (0, 1/2)."""
    low, high = 0.0, 1.0
    while upper_tail(high, dof) > level:
        low, high = high, 2.0 * high
    for _ in range(100):
        middle = (low + high) / 2.0
        low, high = (middle, high) if upper_tail(middle, dof) > level else (low, middle)
    return high
