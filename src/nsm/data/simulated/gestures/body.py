"""An articulated upper body as capsules before the camera."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nsm.data.simulated.gestures.motions import Arm, Arms, Array
from nsm.data.simulated.gestures.people import Person

Floats = NDArray[np.float32]

# Metres of a person of mean size.
_UPPER_ARM, _FOREARM, _HAND = 0.30, 0.26, 0.12
_SHOULDER, _HIP, _NECK, _HEAD = 0.185, 1.30, 0.13, 0.23  # half width; below and above the shoulders
_BEHIND = -0.06  # of the trunk: arms are before it
DISTANCE = 2.0  # of the camera, where a person of mean size fills the picture
_PIXELS_PER_METRE, _CENTRE, _SHOULDERS = 78.0, 64.0, 47.0  # pixels from the upper left corner


class Capsules(NamedTuple):
    """Parts of the body on the sensor at T times, each a thick line with round ends; farther parts first.

    Attributes:
        start: one end, pixels (T, P, 2), right and down.
        end: the other, likewise.
        radius: pixels (T, P).
        reflectance: (T, P).
    """

    start: Floats
    end: Floats
    radius: Floats
    reflectance: Floats


class Stand(NamedTuple):
    """Where a person stands, at T times.

    Attributes:
        body: sway of the shoulders' middle, metres (T, 3), right, down, towards the camera.
        head: sway of the head beside it, metres (T, 2).
        distance: of the camera, metres.
    """

    body: Array
    head: Array
    distance: float


def capsules(person: Person, arms: Arms, stand: Stand) -> Capsules:
    """The body of a person whose hands go these ways."""
    size, middle = person.size, stand.body
    count = len(middle)
    half = _SHOULDER * size * person.width
    torso = 0.185 * size * person.width
    neck = _beside(middle, 0.0, -_NECK * size)
    head = neck.copy()
    head[:, :2] += stand.head
    head = _beside(head, 0.0, -0.03 * size)
    top = _beside(head, 0.0, (_NECK + 0.04 - _HEAD) * size)
    sides = {side: _beside(middle, side * half, 0.03) for side in (-1.0, 1.0)}
    skin, shirt = person.skin, person.shirt
    limb = size * person.girth
    back = _beside(middle, 0.0, 0.0, _BEHIND)
    # start, end, radius, reflectance
    parts: list[tuple[Array, Array, float, float]] = [
        (_beside(back, 0.0, torso), _beside(back, 0.0, _HIP * size), torso, shirt),
        (
            _beside(sides[-1.0], 0.0, 0.0, _BEHIND),
            _beside(sides[1.0], 0.0, 0.0, _BEHIND),
            0.065 * size,
            shirt,
        ),
        (back, _beside(neck, 0.0, 0.0, _BEHIND), 0.06 * size, skin),
        (head, top, 0.095 * size, skin),
    ]
    for side, arm in ((-1.0, arms.right), (1.0, arms.left)):
        elbow, wrist, hand = _joints(person, sides[side], side, arm)
        sleeve = shirt if person.sleeves else skin
        parts += [
            (sides[side], elbow, 0.052 * limb, shirt),
            (elbow, wrist, 0.042 * limb, sleeve),
            (wrist, hand, 0.046 * limb, skin),
        ]
    start, end = (np.stack([part[i] for part in parts], axis=1) for i in (0, 1))
    radius, reflectance = (np.broadcast_to([part[i] for part in parts], (count, len(parts))) for i in (2, 3))
    order = np.argsort((start + end)[..., 2], axis=1, kind="stable")

    def sorted_by_depth(values: Array) -> Array:
        return np.take_along_axis(values, order[..., None] if values.ndim == 3 else order, axis=1)

    start, end, radius, reflectance = map(sorted_by_depth, (start, end, radius, reflectance))
    near = _scale(0.5 * (start + end), stand.distance)[..., 0]
    seen = (_projected(start, stand.distance), _projected(end, stand.distance), radius * near, reflectance)
    return Capsules(*(np.ascontiguousarray(values, np.float32) for values in seen))


def _beside(places: Array, right: float, down: float, near: float = 0.0) -> Array:
    """Places (T, 3) moved by so many metres."""
    moved: Array = places + np.array((right, down, near))
    return moved


def _joints(person: Person, shoulder: Array, side: float, arm: Arm) -> tuple[Array, Array, Array]:
    """Elbow, wrist and finger tips (T, 3) of an arm whose wrist comes as near to its way as it can reach."""
    length = person.size * person.arm
    upper, fore = _UPPER_ARM * length, _FOREARM * length
    mirror = np.array((side, 1.0, 1.0))
    way = arm.wrist * mirror * (upper + fore)
    far = np.linalg.norm(way, axis=1, keepdims=True)
    reach = np.clip(far, 1.05 * abs(upper - fore), 0.995 * (upper + fore))
    towards = way / np.maximum(far, 1e-6)
    # The elbow lies on a circle about the line from shoulder to wrist, at its outermost point.
    along = (upper**2 - fore**2 + reach**2) / (2.0 * reach)
    aside = np.sqrt(np.maximum(upper**2 - along**2, 0.0))
    pole = np.array(arm.elbow) * mirror
    pole = pole - (towards @ pole)[:, None] * towards
    pole /= np.maximum(np.linalg.norm(pole, axis=1, keepdims=True), 1e-6)
    elbow = shoulder + along * towards + aside * pole
    wrist = shoulder + reach * towards
    hand = wrist + (wrist - elbow) * (_HAND * length / fore)
    return elbow, wrist, hand


def _scale(places: Array, distance: float) -> Array:
    """Pixels for a metre at each of the places (..., 3), shape (..., 1)."""
    return _PIXELS_PER_METRE * DISTANCE / np.maximum(distance - places[..., 2:], 0.5)


def _projected(places: Array, distance: float) -> Array:
    return places[..., :2] * _scale(places, distance) + (_CENTRE, _SHOULDERS)
