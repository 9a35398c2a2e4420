"""Inputs of the firing operator in all the shapes, memory orders and scales that the kernels treat apart."""

from typing import NamedTuple

import torch
from torch import Tensor


class Inputs(NamedTuple):
    u: Tensor
    scale: Tensor
    shift: Tensor
    seed: Tensor
    rows: Tensor
    place: int

    @property
    def differentiable(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.u, self.scale, self.shift


# (N, P, C): one position; rows that end inside a group of 64; more channels than a group; one channel;
# several chunks of positions and of elements.
SHAPES = [(3, 1, 300), (2, 49, 7), (2, 70, 65), (5, 1, 1), (2, 130, 1), (1, 300, 96), (2, 64, 64)]
LAYOUTS = ["channel last", "position last", "rows apart", "neither"]


def arranged(values: Tensor, layout: str) -> Tensor:
    """The same (N, P, C) values in another memory order."""
    n, p, c = values.shape
    if layout == "channel last":
        return values
    if layout == "position last":
        return values.transpose(1, 2).contiguous().transpose(1, 2)
    if layout == "rows apart":
        return torch.cat((values, values), 1)[:, :p]
    wide = values.new_zeros(n, p, 2 * c)
    wide[:, :, ::2] = values
    return wide[:, :, ::2]


def inputs(
    shape: tuple[int, int, int],
    layout: str = "channel last",
    dtype: torch.dtype = torch.float32,
    samples: int = 1,
    per_position: bool = False,
    population: int = 1,
) -> Inputs:
    n, p, c = shape
    generator = torch.Generator().manual_seed(n + 10 * p + 100 * c + samples)
    q = p if per_position else 1
    u = arranged((2.0 * torch.randn(shape, generator=generator)).to(dtype), layout)
    scale = torch.rand(q, c, generator=generator) + 0.3
    shift = torch.randn(*([population] if population > 1 else []), q, c, generator=generator)
    index = torch.arange(samples * n)
    rows = torch.stack((2**32 - 1 - index % samples, 7 + 2**29 * (index // samples)), dim=-1)
    return Inputs(u, scale, shift, torch.tensor(0x7EDCBA9876543210), rows, 3 << 16 | 5 << 4)


def windows(values: Tensor, layout: str) -> Tensor:
    """Windows (N, *P, *K, C) in a memory order: "image" has window and position of a dimension together."""
    if layout == "dense":
        return values
    if layout == "neurons apart":
        return values.movedim(-1, 1).contiguous().movedim(1, -1)
    if layout == "cropped":
        return torch.cat((values, values), 1)[:, : values.shape[1]]
    dims = (values.dim() - 2) // 2
    order = [0, *(d for i in range(dims) for d in (1 + i, 1 + dims + i)), values.dim() - 1]
    back = [order.index(d) for d in range(values.dim())]
    return values.permute(order).contiguous().permute(back)
