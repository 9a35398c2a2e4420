"""Temperature scaling of the sampled distribution (Guo et al., ICML 2017), fitted on validation data only."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nsm.measures.checks import check_probabilities, check_targets

_LOG_RANGE = (-4.0, 4.0)


def tempered(probs: Tensor, temperature: float) -> Tensor:
    """p_c^(1/T) / sum_d p_d^(1/T): the mean of the samples, flatter for T > 1. Its most probable class stays.

    Args:
        probs: (N, C), such as ``Prediction.probabilities``.
        temperature: T, > 0.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument has a wrong shape or value.
    """
    if isinstance(temperature, bool) or not isinstance(temperature, (int, float)):
        raise TypeError(f"temperature must be a number, got {type(temperature).__name__}")
    if not (math.isfinite(temperature) and temperature > 0.0):
        raise ValueError(f"temperature must be a finite number > 0, got {temperature}")
    logs = _logs(check_probabilities(probs, "(N, C)"))
    # The largest first: it stays 0 however small T is, where all others may become infinite.
    return ((logs - logs.amax(-1, keepdim=True)) / temperature).softmax(-1).to(probs)


def fit_temperature(probs: Tensor, targets: Tensor) -> float:
    """The temperature in [e^-4, e^4] of the largest likelihood; 1 for predictions that are all uniform, whose
    likelihood is the same at any.

    The likelihood is concave in 1/T: where its slope changes sign there is one best T, found by bisection.

    Args:
        probs: (N, C), what was predicted for validation inputs, N >= 1.
        targets: integers (N,), their classes.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument has a wrong shape or value.

    >>> probs = torch.tensor([[0.99, 0.01]]).repeat(10, 1)
    >>> targets = torch.tensor([0] * 9 + [1])
    >>> f"{tempered(probs, fit_temperature(probs, targets))[0, 0]:.3f}"
    '0.900'
    """
    logs = _logs(check_probabilities(probs, "(N, C)").detach())
    targets = check_targets(targets, probs)
    if not len(probs):
        raise ValueError("probs must hold at least one prediction, got none")
    if (logs == logs[:, :1]).all():
        return 1.0
    true = logs.gather(1, targets[:, None])[:, 0]

    def slope(log_temperature: float) -> float:
        """Of the likelihood in 1/T."""
        expected = ((logs * math.exp(-log_temperature)).softmax(-1) * logs).sum(-1)
        return float((true - expected).mean())

    low, high = _LOG_RANGE
    for _ in range(60):
        middle = (low + high) / 2.0
        # A rising likelihood asks for a larger 1/T.
        low, high = (low, middle) if slope(middle) > 0.0 else (middle, high)
    return math.exp((low + high) / 2.0)


def _logs(probs: Tensor) -> Tensor:
    return probs.double().clamp(min=torch.finfo(torch.float32).tiny).log()
