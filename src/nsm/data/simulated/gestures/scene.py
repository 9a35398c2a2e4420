"""The light that falls on the sensor: capsules before a wall."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nsm.data.simulated.gestures.body import Capsules, Floats

SIDE = 128
_CHUNK = 16  # steps that are drawn at once: they share a part's surroundings, and fit in the cache
_EDGE = 1.2  # pixels over which an edge goes from one side to the other
_ROUND = 0.45  # light that a limb loses towards its edges, where it turns away


def rendered(body: Capsules, wall: Floats) -> Iterator[Floats]:
    """Reflected light of some steps after the other.

    Args:
        body: its parts at T times.
        wall: what is behind it, float32 (128, 128).

    Returns:
        An iterator over float32 (up to 16, 128, 128), T in all; what it gave is overwritten by the next.
    """
    canvas = np.empty((_CHUNK, SIDE, SIDE), np.float32)
    for first in range(0, len(body.start), _CHUNK):
        steps = slice(first, first + _CHUNK)
        picture = canvas[: len(body.start[steps])]
        picture[:] = wall
        for part in range(body.start.shape[1]):
            _draw(
                picture,
                body.start[steps, part],
                body.end[steps, part],
                body.radius[steps, part],
                body.reflectance[steps, part],
            )
        yield picture


def _draw(picture: Floats, start: Floats, end: Floats, radius: Floats, reflectance: Floats) -> None:
    """Put one capsule before what is there, by its distance from each pixel's centre."""
    reach = radius[:, None] + _EDGE
    low = np.floor(np.minimum(start, end) - reach).min(0).astype(int)
    high = np.ceil(np.maximum(start, end) + reach).max(0).astype(int) + 1
    left, top = np.clip(low, 0, SIDE)
    right, bottom = np.clip(high, 0, SIDE)
    if left >= right or top >= bottom:
        return
    line = end - start
    length = np.maximum((line**2).sum(1), np.float32(1e-6))
    x = np.arange(left, right, dtype=np.float32) - start[:, :1]  # (T, w)
    y = np.arange(top, bottom, dtype=np.float32) - start[:, 1:]  # (T, h)
    along = (x * (line[:, :1] / length[:, None]))[:, None, :] + (y * (line[:, 1:] / length[:, None]))[
        ..., None
    ]
    np.clip(along, 0.0, 1.0, out=along)
    aside = along * line[:, :1, None]
    np.subtract(x[:, None, :], aside, out=aside)
    np.square(aside, out=aside)
    along *= line[:, 1:, None]
    np.subtract(y[..., None], along, out=along)
    np.square(along, out=along)
    along += aside  # squared distance from the axis
    np.multiply(along, (-_ROUND * reflectance / radius**2)[:, None, None], out=aside)
    aside += reflectance[:, None, None]
    np.maximum(aside, ((1.0 - _ROUND) * reflectance)[:, None, None], out=aside)
    np.sqrt(along, out=along)
    np.subtract(
        (radius / np.float32(_EDGE) + np.float32(0.5))[:, None, None], along / np.float32(_EDGE), out=along
    )
    np.clip(along, 0.0, 1.0, out=along)
    behind = picture[:, top:bottom, left:right]
    aside -= behind
    aside *= along
    behind += aside
