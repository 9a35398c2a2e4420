"""Who moves before the camera, and in what light."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from nsm import random
from nsm.data.arguments import whole
from nsm.data.simulated.sensor import FIRST_FREE_STREAM, Pixels, uniform

USERS = range(1, 30)
_PEOPLE, _TRIALS, _GESTURES = range(1, 4)  # whose numbers they are, beside the sensor's


@dataclass(frozen=True, kw_only=True)
class Lighting:
    """One condition of light, and what it makes of the camera's pixels.

    Attributes:
        stray: light that veils the scene, relative to that of white paper, >= 0: less contrast.
        flicker: amplitude of the lamps' flicker, in natural logarithms of light.
        frequency: of the flicker, in Hz.
        pixels: the less light there is, the slower and the noisier they are.
    """

    stray: float
    flicker: float
    frequency: float
    pixels: Pixels


def _lighting(
    stray: float, flicker: float, frequency: float, *, delay: float, noise: float, on: float, off: float
) -> Lighting:
    pixels = Pixels(on=on, off=off, mismatch=0.18, delay=delay, refractory=2000.0, noise=noise)
    return Lighting(stray=stray, flicker=flicker, frequency=frequency, pixels=pixels)


# Named as the release of DVS Gestures names its conditions; the numbers are chosen, not measured.
LIGHTINGS: Mapping[str, Lighting] = MappingProxyType(
    {
        "fluorescent": _lighting(0.06, 0.085, 100.0, delay=2500.0, noise=0.10, on=0.19, off=0.21),
        "fluorescent_led": _lighting(0.04, 0.05, 100.0, delay=1500.0, noise=0.07, on=0.17, off=0.19),
        "natural": _lighting(0.02, 0.0, 0.0, delay=1000.0, noise=0.05, on=0.15, off=0.165),
        "led": _lighting(0.10, 0.02, 120.0, delay=3500.0, noise=0.15, on=0.20, off=0.21),
        "lab": _lighting(0.15, 0.12, 100.0, delay=5000.0, noise=0.20, on=0.19, off=0.22),
    }
)


def checked_user(name: str, user: object) -> int:
    """The number of one of the users; ``name`` is that of the argument, for errors."""
    return whole(name, user, USERS[0], USERS[-1])


def checked_lighting(name: str, lighting: object) -> str:
    """The name of one of the lights; ``name`` is that of the argument, for errors."""
    if not isinstance(lighting, str) or lighting not in LIGHTINGS:
        raise ValueError(f"{name} must be one of {', '.join(LIGHTINGS)}, got {lighting!r:.80}")
    return lighting


class Draws:
    """Numbers in (0, 1), one after the other, of one place among the random streams."""

    def __init__(self, key: Tensor, sample: int, number: int, stream: int = 0) -> None:
        rows = random.row_indices(sample, torch.tensor([number]))
        drawn: list[float] = uniform(key, rows, 64, FIRST_FREE_STREAM + stream)[0].tolist()
        self._left = iter(drawn)

    def between(self, low: float, high: float) -> float:
        """The next number, uniform between ``low`` and ``high``."""
        return low + (high - low) * next(self._left)

    def ratio(self, low: float, high: float) -> float:
        """The next number, its logarithm uniform between those of ``low`` and ``high``."""
        return low * math.pow(high / low, next(self._left))


@dataclass(frozen=True, kw_only=True)
class Person:
    """A user: build, manner and clothes. Lengths in metres; reflectances relative to white paper.

    Attributes:
        size: of all lengths, relative to the mean.
        arm: length of the arms relative to the body.
        width: of shoulders and torso relative to the body.
        girth: radius of the limbs, likewise.
        tempo: how fast gestures are made, relative to the mean.
        amplitude: how wide they are, likewise.
        high: by how much the hands are held higher than the mean, in lengths of an arm.
        outside: by how much farther out, likewise.
        restless: how much body and head sway, relative to the mean.
        skin: reflectance of skin.
        shirt: of the shirt.
        sleeves: whether they are long.
    """

    size: float
    arm: float
    width: float
    girth: float
    tempo: float
    amplitude: float
    high: float
    outside: float
    restless: float
    skin: float
    shirt: float
    sleeves: bool


def person(key: Tensor, user: int) -> Person:
    """User ``user`` of the simulation whose seed is ``key``."""
    draw = Draws(key, _PEOPLE, user)
    return Person(
        size=draw.between(0.88, 1.1),
        arm=draw.between(0.93, 1.07),
        width=draw.between(0.88, 1.15),
        girth=draw.between(0.85, 1.2),
        tempo=draw.ratio(0.72, 1.38),
        amplitude=draw.between(0.7, 1.15),
        high=draw.between(-0.09, 0.09),
        outside=draw.between(-0.05, 0.07),
        restless=draw.ratio(0.4, 2.0),
        skin=draw.ratio(0.18, 0.6),
        shirt=draw.ratio(0.05, 0.85),
        sleeves=draw.between(0.0, 1.0) < 0.5,
    )


def trial_draws(key: Tensor, number: int) -> Draws:
    """What differs between the recordings of one user."""
    return Draws(key, _TRIALS, number)


def gesture_draws(key: Tensor, number: int, target: int) -> Draws:
    """What differs between the gestures of one recording."""
    return Draws(key, _GESTURES, number, target)
