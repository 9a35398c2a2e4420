"""Random changes of recordings: a function of (seed, epoch, example) alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from nsm import random
from nsm.data.arguments import flag, real, whole
from nsm.data.events.array import Events, SensorSize, check_events, checked_size

_WHOLE, _DROP, _JITTER = range(3)  # streams of one example
# Far beyond any sensor and recording, and not so far that what they are added to would overflow.
_LARGEST_SHIFT, _LARGEST_JITTER = 2**31 - 1, 2.0**53


@dataclass(frozen=True, kw_only=True)
class EventAugmentation:
    """What may happen to a recording, drawn anew for each example and epoch.

    The transform of a set is a function of the events alone, which says neither whose nor when they are. Go
    over the set and name both:

    >>> from nsm.data.events import make
    >>> recordings = [(make(x=[3, 4], y=[8, 9], t=[10, 25], p=[True, False]), 7)]  # or nmnist("train")
    >>> changes = EventAugmentation(shift=2, jitter=5.0)
    >>> for number, (events, target) in enumerate(recordings):
    ...     changed = changes(events, (34, 34, 2), seed=0, example=number, epoch=3)
    >>> len(changed)
    2

    Attributes:
        shift: largest translation along each axis, whole pixels in [0, 2^31); events that leave the sensor
            are lost.
        flip: mirror every second recording from left to right (digits and gestures have sides).
        drop: probability with which an event is lost, in [0, 1).
        jitter: standard deviation of what is added to each time, in microseconds, in [0, 2^53]; no time
            becomes negative, and events are sorted again.

    Raises:
        ValueError: if a field has an impossible value.
    """

    shift: int = 0
    flip: bool = False
    drop: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        fields = {
            "shift": whole("shift", self.shift, 0, _LARGEST_SHIFT),
            "flip": flag("flip", self.flip),
            "drop": real("drop", self.drop),
            "jitter": real("jitter", self.jitter),
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        if not 0.0 <= self.drop < 1.0:
            raise ValueError(f"drop must be in [0, 1), got {self.drop}")
        if not 0.0 <= self.jitter <= _LARGEST_JITTER:
            raise ValueError(f"jitter must be in [0, 2^53] (us), got {self.jitter}")

    def __call__(
        self, events: Events, sensor_size: SensorSize, *, seed: int, example: int, epoch: int = 0
    ) -> Events:
        """Changed events; ``events``, shape (n,), stay as they are.

        Args:
            events: structured array (n,).
            sensor_size: (width, height, polarities).
            seed: integer in [0, 2^63).
            example: number of the recording in its set, in [0, 2^32).
            epoch: number of the epoch, in [0, 2^32).

        Raises:
            ValueError: if seed, example or epoch is out of its range, or ``events`` or ``sensor_size``
                are none.
        """
        check_events(events)
        example = whole("example", example, 0, random.MAX_INDEX)
        sensor_size = checked_size(sensor_size)
        epoch = whole("epoch", epoch, 0, random.MAX_INDEX)
        seed, rows = random.resolve_seed(seed), torch.tensor([[epoch, example]])
        key = torch.tensor(seed)

        def drawn(count: int, stream: int) -> NDArray[np.float64]:
            where = random.place(layer=stream, purpose=random.Purpose.AUGMENTATION)
            uniform: NDArray[np.float64] = random.uniform(random.words(key, rows, count, where))[0].numpy()
            return uniform

        if self.drop:
            events = events[drawn(len(events), _DROP) >= self.drop]
        events = events.copy()
        if self.shift or self.flip:
            events = self._moved(events, sensor_size, drawn(3, _WHOLE))
        if self.jitter:
            where = random.place(layer=_JITTER, purpose=random.Purpose.AUGMENTATION)
            normal = random.normal(key, rows, len(events), where)[0].double().numpy()
            events["t"] = np.maximum(0, events["t"] + np.rint(self.jitter * normal).astype(np.int64))
            events = events[np.argsort(events["t"], kind="stable")]
        return events

    def _moved(self, events: Events, sensor_size: SensorSize, drawn: NDArray[np.float64]) -> Events:
        width, height, _ = sensor_size
        if self.flip and drawn[2] < 0.5:
            events["x"] = width - 1 - events["x"]
        # In wide numbers: a shift may lead beyond what the fields hold.
        x, y = (
            events[name].astype(np.int64) + int(share * (2 * self.shift + 1)) - self.shift
            for name, share in (("x", drawn[0]), ("y", drawn[1]))
        )
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        events = events[inside]
        events["x"], events["y"] = x[inside], y[inside]
        return events
