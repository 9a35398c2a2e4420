"""A drawing at every angle."""

from __future__ import annotations

import torch
from torch import Tensor

from nsm.inference import predict
from nsm.models import Network
from nsm.report import Turned
from nsm.training import augment

STEP = 5.0  # degrees
SAMPLES = 50
HALF_TURN = 180.0


def turned(image: Tensor, degrees: Tensor) -> Tensor:
    """An image (C, H, W) turned counter-clockwise by angles (A,): (A, C, H, W)."""
    transform = augment.rotations(degrees, (image.shape[1], image.shape[2]))
    return augment.apply(image.expand(len(degrees), *image.shape), transform)


def all_angles(net: Network, image: Tensor, *, seed: int) -> Turned:
    """What a network says of an image from half a turn clockwise to half a turn counter-clockwise.

    Args:
        net: in evaluation mode.
        image: float (1, H, W) in [0, 1].
        seed: of the draws.
    """
    degrees = torch.arange(-HALF_TURN, HALF_TURN + STEP, STEP)
    images = turned(image, degrees)
    said = predict(net, images, samples=SAMPLES, seed=seed)
    return Turned(
        degrees=degrees.numpy(),
        images=images[:, 0].numpy(),
        probabilities=said.probabilities.numpy(),
        entropy=said.entropy.numpy(),
        mutual_information=said.mutual_information.numpy(),
        samples=int(said.samples_used[0]),
    )
