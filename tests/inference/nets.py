"""Small networks whose products are exact, so that the order of additions cannot matter."""

import torch
from torch import Tensor, nn

import nsm

_GRID = 8.0  # weights and inputs are multiples of 1/8: sums of their squares stay below 24 bits


class Residual(nn.Module):
    """Adds what its stochastic layer says to what it was given: no chain."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.inner = nsm.nn.Linear(features, features)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def mlp(**options: object) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nsm.nn.Linear(16, 24, **options),
        nsm.nn.Linear(24, 12, binary_input=True, **options),
        nn.Linear(12, 3),
    )


def conv(**options: object) -> nn.Module:
    return nn.Sequential(
        nsm.nn.Conv2d(1, 6, 3, padding=1, **options),
        nn.MaxPool2d(2),
        nsm.nn.Conv2d(6, 8, 2, binary_input=True, **options),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


def residual(**options: object) -> nn.Module:
    return nn.Sequential(nn.Flatten(), Residual(16), nsm.nn.Linear(16, 8, **options), nn.Linear(8, 3))


def rectifiers() -> nn.Module:
    return nsm.models.build("digits-mlp", model="sn")


NETS = {"mlp": mlp, "conv": conv, "residual": residual}


def exact(kind: str, **options: object) -> nn.Module:
    """A network of ``NETS`` with weights on a coarse grid."""
    torch.manual_seed(0)
    net = NETS[kind](**options)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.dim() > 1:
                parameter.copy_((parameter * 2.0 * _GRID).round() / _GRID)
        net[-1].bias.zero_()
    return net


def pixels(count: int) -> Tensor:
    """(count, 1, 4, 4) in [0, 1], on the grid."""
    torch.manual_seed(1)
    return torch.randint(0, int(_GRID) + 1, (count, 1, 4, 4)) / _GRID


def obvious_votes(net: nn.Module, x: Tensor, samples: int, seed: int, inputs: Tensor) -> Tensor:
    """The softmax of every sample, by one forward pass for each: (B, S, C)."""
    votes = []
    with torch.no_grad():
        for sample in range(samples):
            with nsm.nn.draws(net, seed=seed, samples=sample, inputs=inputs):
                votes.append(net(x).softmax(-1))
    return torch.stack(votes, 1)
