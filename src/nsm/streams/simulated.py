"""Streams that nobody recorded, to try a network on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from nsm import data, random
from nsm.data.events import Events
from nsm.data.simulated import NMNIST_LIKE, simulate
from nsm.data.simulated.gestures import LIGHTINGS, simulate_gestures

_RECORDINGS = 10
_PAUSE = 300_000  # us: the window is empty again before the next one begins
_DIGITS = ("nmnist", "nmnist-simulated")
_GESTURES = ("dvsgesture", "dvsgesture-precut", "dvsgesture-simulated")
_TEST_USERS = range(24, 30)


def simulated(name: str, *, seed: int, root: Path | None = None) -> Iterator[Events]:
    """A simulated stream as a network for a data set of recordings expects it.

    For N-MNIST ten recordings of MNIST's test digits, one after another; for DVS Gestures a user of the test
    part who makes the 11 gestures. The seed chooses the digits, or the user and the light.

    Args:
        name: data set of the network: ``"nmnist"``, ``"dvsgesture"``, or one of their other forms.
        seed: integer in [0, 2^63).
        root: data folder with MNIST, see :func:`nsm.data.load`; gestures need none.

    Raises:
        ValueError: if there is no simulation for this set.
        DataError: if MNIST is missing and cannot be downloaded.
    """
    own = random.derive(seed, "stream")
    if name in _GESTURES:
        seen = [(user, light) for user in _TEST_USERS for light in LIGHTINGS]
        user, light = seen[int(random.permutation(own, 0, len(seen))[0])]
        # By a seed of its own: no recording that the network learned or is tested on.
        return iter([simulate_gestures(user, light, seed=own).events])
    if name not in _DIGITS:
        raise ValueError(f"streams are simulated for {', '.join(_DIGITS + _GESTURES)}, not for {name}")
    images = data.load("mnist", root).test.images
    chosen = random.permutation(own, 0, len(images))[:_RECORDINGS]
    return _one_after_another(images[chosen], seed)


def _one_after_another(images: torch.Tensor, seed: int) -> Iterator[Events]:
    for number, events in enumerate(simulate(images, seed=seed)):
        events["t"] += number * (NMNIST_LIKE.duration + _PAUSE)
        yield events
