"""What a comparison compares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of network in the comparison.

    Attributes:
        title: what it is, in words.
        overrides: what makes it of the recipe, see :func:`nsm.training.with_overrides`.
        published: test error in percent in [N19], None where there is none.
        start: the kind whose run of the same seed and length it starts from; None for fresh weights.
    """

    title: str
    overrides: tuple[str, ...]
    published: float | None = None
    start: str | None = None


POPULATION: Mapping[str, Kind] = {
    "bnsm-population": Kind(
        "NSM, Bernoulli noise, eight neurons in each place",
        ("model=nsm", "noise=bernoulli:0.5", "population=8", "standardized=true", "spread=2.8"),
    )
}
