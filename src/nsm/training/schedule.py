"""Courses of the learning rate: pure functions of (step, total steps)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

from nsm.training.config import TrainingConfig


class Rates(NamedTuple):
    """What holds in one step: the factor of the learning rate, and beta1 where the schedule moves it (else
    None).
    """

    lr_factor: float
    beta1: float | None = None


Schedule = Callable[[int, int], Rates]


def schedule(config: TrainingConfig) -> Schedule:
    """The schedule that ``config`` names, as a function of the step in [0, total) and the total."""
    choices: dict[str, Schedule] = {
        "constant": constant,
        "one-cycle": one_cycle,
        "step": functools.partial(halving, epochs=config.epochs, every=config.step_epochs),
        "constant-linear": constant_linear,
        "cosine": functools.partial(cosine, warmup=config.warmup),
    }
    return choices[config.schedule]


def constant(_step: int, _total: int) -> Rates:
    """1 throughout."""
    return Rates(1.0)


def one_cycle(step: int, total: int) -> Rates:
    """Up from 1/25 to 1 in the first 30 % of the steps, then down to 1/250,000, along half cosines; beta1
    goes from .95 to .85 and back (Smith, "A disciplined approach to neural network hyper-parameters", 2018).
    """
    position = step / max(1, total - 1)
    if position < 0.3:
        rise = position / 0.3
        return Rates(_between(1 / 25, 1.0, rise), _between(0.95, 0.85, rise))
    fall = (position - 0.3) / 0.7
    return Rates(_between(1.0, 1 / 250_000, fall), _between(0.85, 0.95, fall))


def halving(step: int, total: int, *, epochs: int, every: int) -> Rates:
    """Halved after every so many epochs; the published protocols have 50 for MNIST and 100 for DVS Gestures
    [N19].
    """
    return Rates(0.5 ** (step * epochs // total // every))


def constant_linear(step: int, total: int) -> Rates:
    """Constant for a third of the run, then linear to 0 at its end; beta1 falls from .9 to .45 where the
    descent begins. The published protocol for CIFAR [N19], 100 of 300 epochs constant.
    """
    if 3 * step < total:
        return Rates(1.0, 0.9)
    return Rates(1.5 * (1.0 - step / total), 0.45)


def cosine(step: int, total: int, *, warmup: float) -> Rates:
    """Linear up to 1 in the share ``warmup`` of the steps, then along half a cosine to 0 at the end."""
    rise = warmup * total
    if step < rise:
        return Rates((step + 1) / (rise + 1))
    return Rates(_between(1.0, 0.0, (step - rise) / (total - rise)))


def _between(start: float, end: float, share: float) -> float:
    """From ``start`` to ``end`` along half a cosine."""
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * share))
