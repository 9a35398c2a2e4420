"""Data sets of random images, in the shape of the real ones."""

import torch

from nsm import data
from nsm.data import ImageSet, Splits


def made_up(name, per_part=(24, 8, 8)):
    """Splits of a set's shape and classes, with random pixels."""
    info = data.describe(name)
    generator = torch.Generator().manual_seed(0)
    parts = [
        ImageSet(
            torch.randint(256, (n, *info.image), generator=generator, dtype=torch.uint8),
            torch.arange(n) % len(info.classes),
            info.classes,
            name,
        )
        for n in per_part
    ]
    return Splits(*parts)
