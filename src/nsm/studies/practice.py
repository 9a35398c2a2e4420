"""A short training, for measurements that depend on whether a network has learned something."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nsm import data
from nsm.training.denormals import flushed_denormals

IMAGE = (1, 28, 28)
STEPS = 1000  # fewer leave first layers less sure than an epoch or two of MNIST do
_BATCH = 100
_RATE = 2e-3
_BORDER = 4  # empty pixels on each side, as around the digits of MNIST


def digits(count: int) -> tuple[Tensor, Tensor]:
    """The first bundled digits, enlarged to the size of those of MNIST.

    Args:
        count: of images; behind the last one the first follows again.

    Returns:
        float32 images (count, 1, 28, 28) in [0, 1], and their classes, int64 (count,).
    """
    learnt = data.load("digits").train
    chosen = torch.arange(count) % len(learnt)
    pixels = F.interpolate(learnt.images[chosen] / 255.0, IMAGE[1] - 2 * _BORDER, mode="bilinear")
    return F.pad(pixels, (_BORDER,) * 4), learnt.targets[chosen]


def practise(net: torch.nn.Module) -> None:
    """Trains a network for :data:`STEPS` steps of Adam on 100 of :func:`digits` each.

    Args:
        net: takes images (B, 1, 28, 28) and returns the logits of ten classes.
    """
    x, target = digits(len(data.load("digits").train))
    optimizer = torch.optim.Adam(net.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=STEPS)
    with flushed_denormals():
        for _ in range(STEPS):
            batch = torch.randint(len(x), (_BATCH,))
            optimizer.zero_grad()
            F.cross_entropy(net(x[batch]), target[batch]).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
