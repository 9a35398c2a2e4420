"""Muon: every direction of a weight matrix learns at the same rate (Jordan et al., 2024)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

# How far a matrix moves for a learning rate of 1, relative to its own size. With it, rates that suit AdamW
# (about .002) suit matrices.
_TURN = 100.0
# Of the odd polynomial whose iteration brings singular values from (0, 1] close to 1 (Jordan et al.).
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_LEAST = 1e-30  # so that what is 0 stays 0


class Muon(Optimizer):
    """AdamW for everything but matrices, which move by orthogonalized momentum.

    For weights w of groups with ``matrices``, each taken as a matrix with a row for every neuron::

        m <- beta m + g,    O = orthogonalized(g + beta m),    w <- w - 100 lr (|w| / |O|) O

    and back to the size |w|, their Euclidean norm, that they had: only their direction learns. Nothing is
    lost where neurons count relative to their weights, as stochastic neurons and normalized ones do, or where
    layers behind can make up for the size, as behind rectifiers. No decay: there is no size that could grow.
    (torch's own class knows neither convolutions nor other parameters.)

    Args:
        groups: of parameters, each with ``matrices`` True or False and ``weight_decay``.
        lr: learning rate of both.
        betas: the first is beta, and both are AdamW's.
        eps: AdamW's.
    """

    def __init__(
        self, groups: list[dict[str, Any]], *, lr: float, betas: tuple[float, float], eps: float
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps})
        others = [group for group in self.param_groups if not group["matrices"]]
        self._others = AdamW(others, lr=lr, betas=betas, eps=eps, fused=True)
        # The same objects, so that rates and checkpoints have one place.
        self._others.param_groups, self._others.state = others, self.state
        for group in others:
            for key, value in self._others.defaults.items():
                group.setdefault(key, value)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """One update."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["matrices"]:
                for weight in group["params"]:
                    if weight.grad is not None:
                        self._turn(weight, weight.grad, group["lr"], group["betas"][0])
        self._others.step()
        return loss

    def _turn(self, weight: Tensor, gradient: Tensor, lr: float, beta: float) -> None:
        momentum = self.state[weight]["momentum_buffer"].mul_(beta).add_(gradient)
        direction = orthogonalized(gradient.add(momentum, alpha=beta).flatten(1)).view(weight.shape)
        size = weight.norm()
        weight.sub_(direction.mul_(_TURN * lr * size / direction.norm().clamp(min=_LEAST)))
        weight.mul_(size / weight.norm().clamp(min=_LEAST))


def orthogonalized(matrix: Tensor) -> Tensor:
    """About U V' of the singular value decomposition U S V' of ``matrix``: singular values of at least a
    hundredth of the Euclidean norm end in [.68, 1.14].
    """
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / x.norm().clamp(min=_LEAST)
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x if wide else x.T
