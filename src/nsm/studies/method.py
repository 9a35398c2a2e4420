"""Ways to a prediction, as studies compare them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from nsm import fidelity, predict
from nsm.data import ImageSet
from nsm.inference import MarginNoise, Prediction, fit_margin_noise, fit_temperature
from nsm.inference.prediction import joined
from nsm.nn import Fidelity

FIXED = 100
UNTIL_SETTLED: dict[str, Any] = {"confidence": 0.99, "max_samples": 1000}
_SEED, _FIT_SEED = 0, 2
_FITTED_TO = 500
_BATCH = 250


@dataclass(frozen=True)
class Method:
    """One way to a prediction.

    Attributes:
        name: what it is called.
        net: the network that is sampled.
        arguments: of :func:`nsm.predict`.
        fidelity: at which the network is asked; None for its layers' own.
    """

    name: str
    net: nn.Module
    arguments: Mapping[str, Any]
    fidelity: Fidelity | None = None

    def asked(self) -> AbstractContextManager[None]:
        """A block in which the network answers as this method has it."""
        return nullcontext() if self.fidelity is None else fidelity(self.fidelity)

    def predict(self, images: ImageSet) -> tuple[Prediction, float]:
        """Predictions of all images, and milliseconds for each."""
        parts, seconds = [], 0.0
        for places in torch.split(torch.arange(len(images)), _BATCH):
            pixels, _ = images.batch(places)
            started = time.perf_counter()
            with self.asked():
                parts.append(predict(self.net, pixels, seed=_SEED, inputs=places, **self.arguments))
            seconds += time.perf_counter() - started
        return joined(parts, parts[0].probabilities.device), 1000.0 * seconds / len(images)

    def fitted_temperature(self, held_out: ImageSet) -> float:
        """The temperature that fits its predictions of images that its network did not learn."""
        return fit_temperature(self.predict(held_out)[0].probabilities, held_out.targets)


def fitted_noise(net: nn.Module, learned: ImageSet) -> MarginNoise:
    """The noise of a network's margins, measured on the first 500 images that it learned."""
    x, _ = learned.batch(torch.arange(min(_FITTED_TO, len(learned))))
    return fit_margin_noise(net, x, seed=_FIT_SEED)
