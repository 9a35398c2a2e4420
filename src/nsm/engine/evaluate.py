"""Scoring a program on labelled images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nsm import random
from nsm.engine.program import Program
from nsm.inference import Evaluation, MarginNoise, Prediction
from nsm.inference.checks import check_sequential, checked_noise, fixed_samples
from nsm.inference.evaluate import score

if TYPE_CHECKING:
    from nsm.data import ImageSet


def evaluate(
    program: Program,
    images: ImageSet,
    *,
    samples: int | None = None,
    confidence: float | None = None,
    max_samples: int | None = None,
    noise: MarginNoise | None = None,
    seed: int | torch.Generator | None = 0,
    progress: Callable[[int, int], object] | None = None,
) -> Evaluation:
    """Predict every image of a set with a program, as :func:`nsm.evaluate` does with a network.

    Args:
        program: takes the set's images and has an output for each of its classes.
        images: at least one image.
        samples: samples of each image, in [1, 2^32]; None for 100, unless a confidence is given instead.
        confidence: in (0, 1), to sample each image until its class is settled; None for a fixed number.
        max_samples: most samples of an image, with a confidence; None for 1000.
        noise: law of the margins' noise, with a confidence; None for the default one.
        seed: seed of the draws, an integer in [0, 2^63) or a generator that gives one.
        progress: called with the number of images done and of all images, after each part.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument has a wrong value, or the program does not fit the images.
    """
    if confidence is None:
        samples = fixed_samples(samples, max_samples, noise)
    else:
        max_samples = check_sequential(confidence, max_samples, samples)
        noise = checked_noise(noise)
    if not len(images):
        raise ValueError("images must hold at least one image, got none")
    resolved = random.resolve_seed(seed)

    def predict(pixels: Tensor, indices: Tensor) -> Prediction:
        return program.predict(
            pixels,
            samples=samples,
            confidence=confidence,
            max_samples=max_samples,
            noise=noise,
            seed=resolved,
            votes=samples is not None,
            inputs=indices,
        )

    return score(predict, images, samples=samples, progress=progress)
