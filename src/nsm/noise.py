"""Noise laws: the distribution of one synapse's multiplicative factor xi.

A law knows its mean mu, its variance s^2 and how to draw. Everything else in the library (the firing
probability, its gradient, sampling, simulated hardware) is derived from these three.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor

from nsm import quantile, random


class NoiseLaw(ABC):
    """The law of an i.i.d. multiplicative factor xi. Immutable, hashable, comparable by value."""

    kind: ClassVar[str]

    @property
    @abstractmethod
    def mean(self) -> float:
        """mu = E[xi]."""

    @property
    @abstractmethod
    def variance(self) -> float:
        """s^2 = Var[xi], always positive."""

    @abstractmethod
    def from_words(self, words: Tensor) -> Tensor:
        """Factors by inversion of the law's distribution function.

        Args:
            words: int64 of any shape, uniform in [0, 2^32).

        Returns:
            float32 of the same shape.
        """

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """A JSON-able description that :func:`from_dict` reads."""

    def draw(
        self,
        shape: Sequence[int],
        *,
        generator: int | torch.Generator | None = None,
        device: torch.device | str = "cpu",
    ) -> Tensor:
        """Independent factors.

        Args:
            shape: shape of the result.
            generator: an integer seed in [0, 2^63), a ``torch.Generator``, or None for torch's default
                generator.
            device: where to draw.

        Returns:
            float32 of ``shape``.
        """
        seed = torch.tensor(random.resolve_seed(generator, "generator"), device=device)
        where = random.place(purpose=random.Purpose.LAW)
        drawn = random.words(
            seed, torch.zeros(1, 2, dtype=torch.int64, device=device), math.prod(shape), where
        )
        return self.from_words(drawn).view(torch.Size(shape))


@dataclass(frozen=True)
class Bernoulli(NoiseLaw):
    """A synapse that transmits with probability ``p``: xi in {0, 1}, mean p, variance p (1 - p) [N19].

    Raises:
        ValueError: if ``p`` is not strictly between 0 and 1; at either end, and within 2^-33 of it, there is
            no noise.
    """

    p: float
    kind: ClassVar[str] = "bernoulli"

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", _real("p", self.p))
        if not (0.0 < self.p < 1.0 and 0 < self.limit < 2**32):
            raise ValueError(
                f"p must be strictly between 0 and 1, and further than 2^-33 from both, got {self.p}: "
                "a sure synapse has no noise"
            )

    @property
    def mean(self) -> float:
        """mu = p."""
        return self.p

    @property
    def variance(self) -> float:
        """s^2 = p (1 - p)."""
        return self.p * (1.0 - self.p)

    def from_words(self, words: Tensor) -> Tensor:
        """1 where the word lies below :attr:`limit`, else 0; resolution 2^-32."""
        return (words < self.limit).float()

    @property
    def limit(self) -> int:
        """The share ``p`` of the words' range, in [0, 2^32]."""
        return round(self.p * 2**32)

    def to_dict(self) -> dict[str, Any]:
        """``{"law": "bernoulli", "p": p}``."""
        return {"law": self.kind, "p": self.p}


@dataclass(frozen=True)
class Gaussian(NoiseLaw):
    """A synapse of fluctuating strength: xi ~ N(1, std^2) [N19].

    Raises:
        ValueError: if ``std`` is not positive and finite, or its square is none of float32.
    """

    std: float
    kind: ClassVar[str] = "gaussian"

    def __post_init__(self) -> None:
        object.__setattr__(self, "std", _real("std", self.std))
        if not self.std > 0.0:
            raise ValueError(f"std must be positive, got {self.std}: without spread there is no noise")
        _check_variance("std", self.std * self.std)

    @property
    def mean(self) -> float:
        """mu = 1."""
        return 1.0

    @property
    def variance(self) -> float:
        """s^2 = std^2."""
        return self.std * self.std

    def from_words(self, words: Tensor) -> Tensor:
        """1 + std Phi^-1(U), see :func:`nsm.quantile.normal`."""
        return quantile.normal(words) * self.std + 1.0

    def to_dict(self) -> dict[str, Any]:
        """``{"law": "gaussian", "std": std}``."""
        return {"law": self.kind, "std": self.std}


@dataclass(frozen=True, repr=False)
class Measured(NoiseLaw):
    """An empirical law: xi is one entry of a table of measured factors, each equally likely.

    Args:
        samples: measured factors, dimensionless (1 means the nominal weight); any iterable of numbers, a
            tensor or an array of one dimension. Order is irrelevant to the law and kept in sorted form, so
            that equal tables are equal laws.

    Raises:
        ValueError: if the table is empty, holds a non-finite value, does not vary or has not one dimension,
            or if its variance is none of float32.
        TypeError: if it is no table.
    """

    samples: tuple[float, ...]
    _mean: float = field(init=False, compare=False)
    _variance: float = field(init=False, compare=False)
    kind: ClassVar[str] = "measured"

    def __init__(self, samples: Iterable[float] | Tensor) -> None:
        if not isinstance(samples, Iterable):
            raise TypeError(f"samples must be a table of numbers, got {type(samples).__name__}")
        shape = tuple(getattr(samples, "shape", (0,)))
        if len(shape) != 1:
            raise ValueError(f"samples must be a table of one dimension, got shape {shape}; flatten it")
        values = samples.tolist() if isinstance(samples, Tensor) else list(samples)
        table = tuple(sorted(_real(f"samples[{i}]", value) for i, value in enumerate(values)))
        if not table:
            raise ValueError("samples must hold at least two different factors, got an empty table")
        if table[0] == table[-1]:
            raise ValueError(
                f"samples must vary, got {len(table)} times the factor {table[0]}: there is no noise"
            )
        if max(abs(table[0]), abs(table[-1])) > _LARGEST:
            raise ValueError(f"samples must lie within +-{_LARGEST:g}, got {table[0]:g} to {table[-1]:g}")
        mean = math.fsum(table) / len(table)
        variance = math.fsum((value - mean) ** 2 for value in table) / len(table)
        _check_variance("samples", variance)
        # Layers ask for both in every pass, and tables are long.
        for name, value in (("samples", table), ("_mean", mean), ("_variance", variance)):
            object.__setattr__(self, name, value)

    @property
    def mean(self) -> float:
        """The table's mean."""
        return self._mean

    @property
    def variance(self) -> float:
        """The table's variance (divided by its length: the table is the whole law)."""
        return self._variance

    def from_words(self, words: Tensor) -> Tensor:
        """Entry number floor(U * length)."""
        table = torch.tensor(self.samples, dtype=torch.float32, device=words.device)
        return table[words * len(self.samples) >> 32]

    def to_dict(self) -> dict[str, Any]:
        """``{"law": "measured", "samples": [...]}``."""
        return {"law": self.kind, "samples": list(self.samples)}

    def __repr__(self) -> str:
        return (
            f"Measured({len(self.samples)} samples, mean={self.mean:.4g}, std={math.sqrt(self.variance):.4g})"
        )


_LAWS: dict[str, tuple[type[NoiseLaw], str]] = {
    "bernoulli": (Bernoulli, "p"),
    "gaussian": (Gaussian, "std"),
    "measured": (Measured, "samples"),
}


def from_dict(description: object) -> NoiseLaw:
    """The law that :meth:`NoiseLaw.to_dict` described.

    Raises:
        ValueError: if the law is unknown, a parameter is missing, or one is impossible.

    >>> from_dict({"law": "gaussian", "std": 0.5})
    Gaussian(std=0.5)
    """
    if not isinstance(description, dict) or description.get("law") not in list(_LAWS):
        raise ValueError(f"law must be one of {', '.join(_LAWS)}, got {description!r:.200}")
    law, parameter = _LAWS[description["law"]]
    if set(description) != {"law", parameter}:
        raise ValueError(f"a {description['law']} law takes {parameter!r} alone, got {sorted(description)}")
    value = description[parameter]
    if law is Measured and not isinstance(value, (list, tuple)):
        raise ValueError(f"samples must be a list of numbers, got {type(value).__name__}")
    return law(value)  # type: ignore[call-arg]


# A variance is computed with in float32, and a factor's square must not overflow there.
_LARGEST = 1e18
_SMALLEST_VARIANCE = 2.0**-126


def _check_variance(name: str, variance: float) -> None:
    if not _SMALLEST_VARIANCE <= variance <= _LARGEST * _LARGEST:
        raise ValueError(f"{name} must give a variance within float32's range, got {variance:g}")


def _real(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} must be a number, got {value!r:.80}")
    try:
        number = float(value)
    except OverflowError:  # of a whole number
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r:.80}")
    return number
