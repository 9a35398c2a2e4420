"""Laplace's approximation of the last layer's posterior (Ritter et al., ICLR 2018; Kristiadi et al., ICML
2020).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from nsm import random
from nsm.nn import Drawing, is_stochastic
from nsm.nn.checks import check_batch, check_dtype, check_positive
from nsm.nn.context import next_draw

_BATCH = 500


class LaplaceHead(Drawing):
    """A linear classifier with weights N(W, (B x A + precision I)^-1), by its logits: they are normal too.

    With features f (and 1 for the bias), A = sum_n f_n f_n^T and B = mean_n (diag p_n - p_n p_n^T), the
    Kronecker-factored curvature of the cross-entropy at the learned weights W, over the inputs it was fitted
    to. In the eigenvectors U of A and V of B the logits W f have the covariance

        V diag_k( sum_i (U^T f)_i^2 / (a_i b_k + precision) ) V^T

    Args:
        linear: the classifier, from F features to C logits.
        inputs: A, (F + 1, F + 1), or (F, F) without a bias.
        outputs: B, (C, C).
        precision: of the weights' normal prior, > 0.

    Raises:
        ValueError: if ``precision`` is not positive and finite.
        TypeError: if it is no number.
    """

    def __init__(self, linear: nn.Linear, inputs: Tensor, outputs: Tensor, precision: float) -> None:
        super().__init__()
        check_positive(precision, "precision")
        self.linear, self.precision = linear, precision
        for name, matrix in (("inputs", inputs), ("outputs", outputs)):
            values, vectors = torch.linalg.eigh(matrix.double())
            self.register_buffer(f"{name}_values", values.clamp(min=0.0))
            self.register_buffer(f"{name}_vectors", vectors)

    def _wide(self, name: str) -> Tensor:
        # .float() and .half() of a network narrow its buffers, too.
        return self.get_buffer(name).double()

    def spread(self, features: Tensor) -> Tensor:
        """Variances (N, C) of the logits along the eigenvectors of B, for features (N, F)."""
        turned = _extended(self.linear, features) @ self._wide("inputs_vectors")
        curvature = self._wide("inputs_values")[:, None] * self._wide("outputs_values")
        spread: Tensor = turned.square() @ (1.0 / (curvature + self.precision))
        return spread

    def forward(self, features: Tensor) -> Tensor:
        """A sample of the logits (N, C); inside :func:`nsm.nn.draws` N may grow."""
        draw = next_draw(self.index, len(features), features.device)
        mean: Tensor = self.linear(features)
        spread = self.spread(features)
        repeat = draw.samples(features)
        place = draw.place(random.Purpose.ACTIVATION)
        normal = random.normal(draw.seed, draw.rows, mean.shape[1], place).to(spread)
        along = spread.sqrt().repeat_interleave(repeat, dim=0) * normal
        noise = along @ self._wide("outputs_vectors").mT
        return mean.repeat_interleave(repeat, dim=0) + noise.to(mean)


def last_layer_laplace(net: nn.Sequential, x: Tensor, *, precision: float) -> nn.Sequential:
    """A copy of ``net`` whose last layer draws from Laplace's approximation of its posterior.

    Args:
        net: a chain of modules that draws nothing and ends in ``nn.Linear``.
        x: (B, ...), the inputs that it learned from.
        precision: of the weights' normal prior, > 0; choose it on validation data.

    Raises:
        ValueError: if ``net`` is of another form, ``precision`` not positive and finite, or ``x`` empty or
            not finite.
        TypeError: if ``x`` is no floating-point tensor of the network's dtype, or ``precision`` no number.
    """
    if (
        not isinstance(net, nn.Sequential)  # type: ignore[redundant-expr]
        or not len(net)
        or not isinstance(net[-1], nn.Linear)
        or is_stochastic(net)
    ):
        raise ValueError("net must be a chain of modules that draws nothing and ends in nn.Linear")
    check_batch(x, "x")
    check_dtype(net, x, "x")
    sampled = copy.deepcopy(net).eval()
    *body, linear = sampled
    assert isinstance(linear, nn.Linear)
    width = linear.in_features + int(_has_bias(linear))
    inputs = torch.zeros((width, width), dtype=torch.float64, device=x.device)
    outputs = torch.zeros((linear.out_features, linear.out_features), dtype=torch.float64, device=x.device)
    with torch.no_grad():
        for part in torch.split(x, _BATCH):
            features = nn.Sequential(*body)(part)
            probabilities = linear(features).double().softmax(-1)
            extended = _extended(linear, features)
            inputs += extended.mT @ extended
            outputs += torch.diag(probabilities.sum(0)) - probabilities.mT @ probabilities
    sampled[-1] = LaplaceHead(linear, inputs, outputs / len(x), precision)
    return sampled


def _has_bias(linear: nn.Linear) -> bool:
    """Whether there is a bias, which torch's types say there always is."""
    return dict(linear.named_parameters()).get("bias") is not None


def _extended(linear: nn.Linear, features: Tensor) -> Tensor:
    """Features (N, F) in float64, with a 1 behind them where there is a bias."""
    wide = features.double()
    return torch.cat((wide, torch.ones_like(wide[:, :1])), 1) if _has_bias(linear) else wide
