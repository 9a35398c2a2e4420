"""What samples come from: passes of a network here, compiled programs elsewhere."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from nsm.inference.passes import PassSize, evaluation_mode
from nsm.inference.prediction import logits_of
from nsm.nn import is_stochastic
from nsm.nn.draws import most_samples


class Source(Protocol):
    """Samples of B inputs in C classes. Sample s of an input does not depend on what else is drawn.

    Attributes:
        classes: C.
        device: where the logits are.
        draws: whether samples differ; one says all where they do not.
        most: samples of an input that there are; None for any number.
        together: samples of an input that take no more time than one; requests begin at a multiple of it.
    """

    classes: int
    device: torch.device
    draws: bool
    most: int | None
    together: int

    def logits(self, places: Tensor, samples: range) -> Tensor:
        """(n, k, C), of the inputs at ``places``, int64 (n,), the k samples with these numbers."""
        ...


def probe(net: nn.Module, x: Tensor, *, seed: int, size: PassSize) -> int:
    """Number of classes, found by a small pass that tells ``size`` what passes need."""

    def forward(x: Tensor, inputs: Tensor, samples: Tensor) -> Tensor:
        return logits_of(net, x, seed=seed, samples=samples, inputs=inputs)

    # Not one row: what has one row alone is often not copied, and would tell too little.
    few = x[:2]
    places = torch.arange(len(few), device=x.device)
    with torch.no_grad(), evaluation_mode(net):
        return size.run(forward, few, places, places[:1]).shape[2]


class NetworkSource:
    """Passes through a network; arguments are checked.

    Args:
        net: maps (N, ...) to logits (N, C).
        x: (B, ...), the inputs.
        inputs: int64 (B,), the inputs' indices in the random streams.
        seed: seed of the draws.
        size: size of passes of single samples, known from :func:`probe`.
        classes: C, from :func:`probe`.
    """

    def __init__(
        self, net: nn.Module, x: Tensor, *, inputs: Tensor, seed: int, size: PassSize, classes: int
    ) -> None:
        self.classes, self.device = classes, x.device
        self.draws, self.most, self.together = is_stochastic(net), most_samples(net), 1
        self._net, self._x, self._inputs = net, x, inputs.to(x.device)
        self._seed, self._size = seed, size

    def logits(self, places: Tensor, samples: range) -> Tensor:
        """As many inputs in a pass as its size allows."""
        numbers = torch.arange(samples.start, samples.stop, device=self.device)

        def forward(x: Tensor, inputs: Tensor, samples: Tensor) -> Tensor:
            return logits_of(self._net, x, seed=self._seed, samples=samples, inputs=inputs)

        parts: list[Tensor] = []
        done = 0
        with torch.no_grad(), evaluation_mode(self._net):
            while done < len(places):
                chosen = places[done : done + max(1, self._size.inputs // len(samples))]
                parts.append(self._size.run(forward, self._x[chosen], self._inputs[chosen], numbers))
                done += len(chosen)
        return torch.cat(parts)
