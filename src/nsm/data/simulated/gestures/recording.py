"""One simulated recording: a user makes all gestures, one after the other, under one light."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nsm import random
from nsm.data.events import Events, Label
from nsm.data.simulated.gestures.body import DISTANCE, Capsules, Floats, Stand, capsules
from nsm.data.simulated.gestures.motions import MOTIONS, Arm, Arms, Array, resting
from nsm.data.simulated.gestures.people import (
    LIGHTINGS,
    Draws,
    Lighting,
    Person,
    checked_lighting,
    checked_user,
    gesture_draws,
    person,
    trial_draws,
)
from nsm.data.simulated.gestures.scene import SIDE, rendered
from nsm.data.simulated.sensor import record

_STEP = 2000  # us
_PER_SECOND = 1_000_000 // _STEP
_PAUSE = 0.3  # seconds in which the hands go from rest into a gesture, and back


class Simulated(NamedTuple):
    """A simulated recording.

    Attributes:
        events: on 128 x 128 pixels, by time.
        labels: which gesture from when to when, in the order of the classes.
    """

    events: Events
    labels: list[Label]


def simulate_gestures(user: int, lighting: str, *, seed: int) -> Simulated:
    """A user makes the 11 gestures before a simulated camera; a function of the arguments alone.

    Each takes about two seconds, at least 18 windows of 96 ms; between them the hands hang down.

    Args:
        user: in [1, 29]; the same person under every light.
        lighting: one of :data:`LIGHTINGS`.
        seed: integer in [0, 2^63).

    Raises:
        ValueError: if there is no such user or light.
    """
    user, lighting = checked_user("user", user), checked_lighting("lighting", lighting)
    key = torch.tensor(random.derive(random.resolve_seed(seed), "gestures"))
    number = user * len(LIGHTINGS) + list(LIGHTINGS).index(lighting)
    light = LIGHTINGS[lighting]
    body, wall, labels, phase = _scene(key, number, person(key, user))
    lights = _light(body, wall, light, phase)
    (events,) = record(lights, light.pixels, SIDE, step=_STEP, key=key, numbers=torch.tensor([number]))
    return Simulated(events, labels)


class _Scene(NamedTuple):
    body: Capsules
    wall: Floats
    labels: list[Label]
    flicker_phase: float


def _scene(key: Tensor, number: int, who: Person) -> _Scene:
    trial = trial_draws(key, number)
    ways, labels, begin = [], [], 0
    for target in range(len(MOTIONS)):
        draw = gesture_draws(key, number, target)
        way, (first, last) = _gesture(target, who, draw)
        labels.append(Label(target, (begin + first) * _STEP, (begin + last) * _STEP))
        ways.append(way)
        begin += len(way.right.wrist)
    stand = _stand(begin, who, trial)
    parts = [capsules(who, way, _part(stand, ways, i)) for i, way in enumerate(ways)]
    body = Capsules(*(np.concatenate(values) for values in zip(*parts, strict=True)))
    return _Scene(body, _wall(trial), labels, trial.between(0.0, 2.0 * math.pi))


def _part(stand: Stand, ways: list[Arms], i: int) -> Stand:
    first = sum(len(way.right.wrist) for way in ways[:i])
    steps = slice(first, first + len(ways[i].right.wrist))
    return Stand(stand.body[steps], stand.head[steps], stand.distance)


def _gesture(target: int, who: Person, draw: Draws) -> tuple[Arms, tuple[int, int]]:
    """Ways of both hands from rest to rest, and the first step of the gesture and the one after its last."""
    pause = round(_PAUSE * _PER_SECOND)
    count = round(draw.between(1.8, 2.3) * _PER_SECOND)
    seconds = (np.arange(count + 2 * pause) - pause) / _PER_SECOND
    motion = MOTIONS[target]
    rate = motion.frequency * who.tempo * draw.ratio(0.88, 1.14)
    # Nobody keeps time quite evenly.
    uneven = draw.between(0.0, 0.5) * np.sin(draw.between(2.0, 5.0) * seconds + draw.between(0.0, 6.3))
    phase = draw.between(0.0, 2.0 * math.pi) + 2.0 * math.pi * rate * seconds + uneven
    wide = who.amplitude * draw.between(0.88, 1.12)
    aside = np.array((who.outside + draw.between(-0.04, 0.04), -who.high + draw.between(-0.04, 0.04), 0.0))
    moved = motion.arms(phase, wide, draw)
    rest = resting(len(phase))
    rise = np.clip(np.minimum(np.arange(len(phase)), np.arange(len(phase))[::-1]) / pause, 0.0, 1.0)
    rise = (rise * rise * (3.0 - 2.0 * rise))[:, None]

    def arm(way: Arm) -> Arm:
        if np.array_equal(way.wrist, rest.wrist):
            return way
        return Arm(rest.wrist + rise * (way.wrist + aside - rest.wrist), way.elbow)

    return Arms(arm(moved.right), arm(moved.left)), (pause, pause + count)


def _stand(count: int, who: Person, draw: Draws) -> Stand:
    """Slow sway of body and head about a place that differs from recording to recording."""
    seconds = np.arange(count) / _PER_SECOND

    def sway(amplitude: float, slow: float, fast: float) -> Array:
        phases = (draw.between(0.0, 6.3), draw.between(0.0, 6.3))
        rates = (draw.between(0.7, 1.3) * slow, draw.between(0.7, 1.3) * fast)
        wave: Array = np.sin(rates[0] * seconds + phases[0]) + 0.3 * np.sin(rates[1] * seconds + phases[1])
        return who.restless * amplitude * wave

    body = np.stack((sway(0.010, 2.0, 7.0), sway(0.004, 2.6, 8.0), sway(0.010, 1.6, 5.0)), axis=1)
    body[:, :2] += (draw.between(-0.07, 0.07), draw.between(-0.06, 0.06))
    head = np.stack((sway(0.006, 2.4, 6.0), sway(0.003, 2.0, 7.0)), axis=1)
    return Stand(body, head, DISTANCE * draw.between(0.95, 1.15))


def _wall(draw: Draws) -> Floats:
    """A wall with soft shadows, float32 (128, 128)."""
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    wall = np.full((SIDE, SIDE), draw.ratio(0.3, 0.9))
    for _ in range(3):
        across, down = draw.between(-9.0, 9.0), draw.between(-9.0, 9.0)
        wall *= 1.0 + 0.12 * np.sin(across * columns + down * rows + draw.between(0.0, 6.3))
    return wall.astype(np.float32)


def _light(body: Capsules, wall: Floats, lighting: Lighting, phase: float) -> Iterator[Floats]:
    """Logarithm of the light on the sensor at each step, float32 (1, 128 * 128)."""
    step = 0
    turn = 2.0 * math.pi * lighting.frequency / _PER_SECOND
    for picture in rendered(body, wall):
        light = np.log(picture + np.float32(lighting.stray))
        for now in light.reshape(len(light), 1, -1):
            yield now + np.float32(lighting.flicker * math.sin(turn * step + phase))
            step += 1
