"""Arguments of users, checked before anything is made of them."""

from __future__ import annotations

import math
import operator
from numbers import Real
from typing import SupportsIndex

import numpy as np


def whole(name: str, value: object, low: int, high: float = math.inf, where: str = "") -> int:
    """``value`` as an int; integers of numpy and torch will do, booleans and floats will not.

    Args:
        name: of the argument, for errors.
        value: what came.
        low: the smallest that is valid, and
        high: the largest.
        where: what the range is for, added to it in errors.

    Raises:
        ValueError: if it is no whole number in the range.
    """
    if isinstance(value, SupportsIndex) and not isinstance(value, (bool, np.bool_)):
        try:
            number = operator.index(value)
        except TypeError:  # an array or a tensor that holds no single integer
            pass
        else:
            if low <= number <= high:
                return number
    valid = f"in [{low}, {high}]" if high < math.inf else f"of at least {low}"
    raise ValueError(f"{name} must be a whole number {valid}{where}, got {value!r:.80}")


def real(name: str, value: object) -> float:
    """``value`` as a float, which may be infinite or NaN; numbers of numpy will do, booleans will not.

    Raises:
        ValueError: if it is no number.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a number, got {value!r:.80}")
    return float(value)


def flag(name: str, value: object) -> bool:
    """``value`` as a bool.

    Raises:
        ValueError: if it is neither True nor False.
    """
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be True or False, got {value!r:.80}")
    return bool(value)
