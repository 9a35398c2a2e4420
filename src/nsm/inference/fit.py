"""Measuring how noisy a network's margins are, from inputs without labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nsm.inference.checks import check_inputs, check_samples
from nsm.inference.predict import predict
from nsm.inference.settling import MarginNoise
from nsm.nn.checks import check_net

# Inputs are as alike as makes no difference beyond this, and fewer than this cannot be told from noise.
_DOF = (1.0, 1000.0)


def fit_margin_noise(
    net: nn.Module,
    x: Tensor,
    *,
    samples: int = 20,
    seed: int | torch.Generator | None = 0,
    memory_mib: float = 256.0,
) -> MarginNoise:
    """The law of the noise of the margin between the two leading classes, for :func:`predict`.

    The logarithm of the variance s^2 of n samples of a normal margin has mean ln sigma^2 + digamma(d / 2) -
    ln(d / 2) and variance trigamma(d / 2), d = n - 1; the law over inputs adds those of its own degrees of
    freedom. Mean and variance over the inputs then give both parameters (Smyth, Statistical Applications in
    Genetics and Molecular Biology 3, 2004, section 6.2).

    Args:
        net: maps (N, ...) to logits (N, C), C >= 2; it must draw.
        x: (B, ...), inputs of the kind that will be met, B >= 2.
        samples: n, samples of each, >= 5.
        seed: seed of the draws; choose another one than that of the predictions.
        memory_mib: bound on the tensors of one pass together, see :func:`predict`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument has a wrong value, or the margins do not vary.

    >>> import nsm, torch
    >>> noise = fit_margin_noise(nsm.models.build("digits-mlp"), torch.rand(50, 1, 8, 8))
    >>> noise.scale > 0 and noise.dof >= 1
    True
    """
    check_net(net)
    check_samples(samples)
    check_inputs(net, x, "x")
    if samples < 5:
        raise ValueError(f"samples must be at least 5, got {samples}")
    if len(x) < 2:
        raise ValueError(f"x must hold at least 2 inputs, got {len(x)}")
    votes = predict(net, x, samples=samples, seed=seed, votes=True, memory_mib=memory_mib).votes
    assert votes is not None
    if votes.shape[1] != samples or votes.shape[2] < 2:
        raise ValueError("net must draw and have at least 2 classes for its margins to have noise")
    # Differences of logits are those of log-probabilities; a softmax that underflowed has lost them.
    logs = votes.clamp(min=torch.finfo(votes.dtype).tiny).double().log()
    leading = votes.mean(1).topk(2).indices
    pair = logs.gather(2, leading[:, None].expand(-1, samples, -1))
    variances = (pair[..., 0] - pair[..., 1]).var(1)
    variances = variances[variances > 0]
    if len(variances) < 2:
        raise ValueError("net must give margins that vary between samples, but for these inputs they do not")
    return _fitted(variances, samples - 1)


def _fitted(variances: Tensor, dof: int) -> MarginNoise:
    """The law behind variances (n,) of ``dof`` degrees of freedom each."""
    half = torch.tensor(dof / 2.0, dtype=torch.float64)
    logs = variances.double().log() - torch.digamma(half) + half.log()
    excess = float(logs.var() - torch.polygamma(1, half))
    found = 2.0 * _inverse_trigamma(excess) if excess > 0.0 else math.inf
    prior = min(max(found, _DOF[0]), _DOF[1])
    half_prior = torch.tensor(prior / 2.0, dtype=torch.float64)
    scale = float((logs.mean() + torch.digamma(half_prior) - half_prior.log()).exp().sqrt())
    return MarginNoise(scale, prior)


def _inverse_trigamma(value: float) -> float:
    """x > 0 with trigamma(x) = ``value`` > 0, by bisection of the logarithm: trigamma falls."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2.0
        above = float(torch.polygamma(1, torch.tensor(math.exp(middle), dtype=torch.float64))) > value
        low, high = (middle, high) if above else (low, middle)
    return math.exp(low)
