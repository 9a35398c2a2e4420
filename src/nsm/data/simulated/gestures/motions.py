"""How the hands go in each gesture.

An arm's wrist is described from its own shoulder, in lengths of the outstretched arm: outwards, down, towards
the camera. Clockwise is what the camera sees as clockwise; the right arm is that of the person, on the left
of the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nsm.data.classes import GESTURES
from nsm.data.simulated.gestures.people import Draws

Array = NDArray[np.float64]


class Arm(NamedTuple):
    """The way of one wrist.

    Attributes:
        wrist: (T, 3).
        elbow: direction in which the elbow points, (3,).
    """

    wrist: Array
    elbow: tuple[float, float, float]


class Arms(NamedTuple):
    """The ways of both, right arm first."""

    right: Arm
    left: Arm


def _path(out: float | Array, down: float | Array, near: float | Array) -> Array:
    return np.stack(np.broadcast_arrays(out, down, near), axis=-1).astype(np.float64)


def resting(count: int) -> Arm:
    """An arm that hangs down, for ``count`` steps."""
    return Arm(np.broadcast_to((0.07, 0.93, 0.08), (count, 3)), (1.0, 0.2, -0.3))


def _clap(phase: Array, wide: float, _draw: Draws) -> Arms:
    apart = 0.5 * (1.0 - np.cos(phase))
    arm = Arm(_path(-0.25 + 0.36 * wide * apart, 0.36 - 0.03 * apart, 0.55), (1.0, 0.9, 0.0))
    return Arms(arm, arm)


def _wave(phase: Array, wide: float, _draw: Draws) -> Arm:
    """The forearm swings about the raised elbow."""
    angle = 0.1 + 0.62 * wide * np.sin(phase)
    return Arm(_path(0.3 + 0.48 * np.sin(angle), 0.2 - 0.48 * np.cos(angle), 0.3), (0.4, 1.0, 0.0))


def _circle(phase: Array, wide: float, _draw: Draws) -> Arm:
    """A wide circle of the whole arm, from the inside upwards for a rising phase."""
    radius = 0.52 * wide
    across, along = radius * np.cos(phase), radius * np.sin(phase)
    return Arm(_path(0.22 - across, -0.02 - along, 0.45), (0.5, 1.0, -0.3))


def _roll(phase: Array, wide: float, _draw: Draws) -> Arms:
    """The forearms turn about each other before the chest."""

    def arm(angle: Array) -> Arm:
        turned = 0.2 * wide
        way = _path(-0.27, 0.36 + turned * np.sin(angle), 0.5 + turned * np.cos(angle))
        return Arm(way, (1.0, 0.35, 0.0))

    return Arms(arm(phase), arm(phase + np.pi))


def _drums(phase: Array, wide: float, _draw: Draws) -> Arms:
    """Hands strike in turn: quickly down, slowly up."""

    def arm(angle: Array) -> Arm:
        beat = np.sin(angle + 0.5 * np.sin(angle))
        return Arm(_path(0.03, 0.42 + 0.24 * wide * beat, 0.55 - 0.05 * beat), (0.7, 0.8, -0.3))

    return Arms(arm(phase), arm(phase + np.pi))


def _guitar(phase: Array, wide: float, _draw: Draws) -> Arms:
    """The left hand holds and slides along the neck, the right one strums."""
    strum = np.sin(phase)
    right = Arm(_path(-0.16 - 0.05 * strum, 0.62 + 0.17 * wide * strum, 0.38), (1.0, 0.3, -0.4))
    slide = np.sin(phase / 5.0)
    left = Arm(_path(0.5 + 0.05 * slide, 0.16 - 0.03 * slide, 0.42), (0.2, 1.0, 0.0))
    return Arms(right, left)


def _other(phase: Array, wide: float, draw: Draws) -> Arms:
    """One of five gestures of the user's own."""
    kind, shift = int(draw.between(0, 5)), draw.between(0.0, 2.0 * np.pi)
    swing = 0.5 * (1.0 - np.cos(phase))
    if kind == 0:  # both arms rise sideways, as a bird's
        angle = 0.35 + 1.5 * wide * swing
        arm = Arm(_path(0.95 * np.sin(angle), 0.95 * np.cos(angle), 0.15), (0.2, 1.0, -0.5))
        return Arms(arm, arm)
    if kind == 1:  # boxing
        right, left = swing, 1.0 - swing
        fists = [
            Arm(_path(-0.1, 0.2 - 0.12 * out, 0.35 + 0.6 * out), (0.7, 1.0, 0.0)) for out in (right, left)
        ]
        return Arms(*fists)
    if kind == 2:  # both hands wave overhead
        sway = 0.25 * wide * np.sin(phase)
        return Arms(
            Arm(_path(0.12 + sway, -0.85, 0.15), (1.0, 0.0, -0.2)),
            Arm(_path(0.12 - sway, -0.85, 0.15), (1.0, 0.0, -0.2)),
        )
    if kind == 3:  # lifting something before the body
        lift = np.sin(phase)
        arm = Arm(_path(-0.08, 0.35 + 0.38 * wide * lift, 0.55), (1.0, 0.6, -0.2))
        return Arms(arm, arm)
    # Two hands, each on a way of its own.
    places = []
    for turn in (shift, 2.0 * shift):
        out, down = np.sin(phase + turn), np.sin(2.0 * phase + 1.7 * turn)
        places.append(Arm(_path(0.25 + 0.28 * wide * out, 0.2 + 0.3 * wide * down, 0.5), (0.6, 1.0, -0.2)))
    return Arms(*places)


_TwoHanded = Callable[[Array, float, Draws], Arms]
_OneHanded = Callable[[Array, float, Draws], Arm]


def _right(move: _OneHanded, turn: float = 1.0) -> _TwoHanded:
    return lambda phase, wide, draw: Arms(move(turn * phase, wide, draw), resting(len(phase)))


def _left(move: _OneHanded, turn: float = 1.0) -> _TwoHanded:
    return lambda phase, wide, draw: Arms(resting(len(phase)), move(turn * phase, wide, draw))


class Motion(NamedTuple):
    """A gesture: how often a second it comes round, and its ways for a phase (T,), a relative width and
    numbers to draw from.
    """

    frequency: float
    arms: _TwoHanded


_MOTIONS = {
    "hand_clapping": Motion(2.2, _clap),
    "right_hand_wave": Motion(1.9, _right(_wave)),
    "left_hand_wave": Motion(1.9, _left(_wave)),
    # Upwards on its inner side, the arm on the left of the picture turns counter-clockwise.
    "right_arm_clockwise": Motion(1.25, _right(_circle, -1.0)),
    "right_arm_counter_clockwise": Motion(1.25, _right(_circle)),
    "left_arm_clockwise": Motion(1.25, _left(_circle)),
    "left_arm_counter_clockwise": Motion(1.25, _left(_circle, -1.0)),
    "arm_roll": Motion(1.9, _roll),
    "air_drums": Motion(2.3, _drums),
    "air_guitar": Motion(2.7, _guitar),
    "other_gestures": Motion(1.4, _other),
}
MOTIONS = tuple(_MOTIONS[name] for name in GESTURES)
