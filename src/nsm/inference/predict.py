"""Monte Carlo prediction: the average of many sampled passes, and what their disagreement says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nsm import random
from nsm.inference.passes import MIB, PassSize
from nsm.nn import is_stochastic, sample_outputs


class Prediction(NamedTuple):
    """What S samples say about B inputs in C classes; p_s is the softmax of sample s.

    Entropies are in nats, H[p] = -sum_c p_c ln p_c. The entropy of the mean is the whole uncertainty; its two
    parts are the samples' own and their disagreement.

    Attributes:
        probabilities: (B, C), the mean m = (1/S) sum_s p_s.
        entropy: (B,), H[m] = -sum_c m_c ln m_c, in [0, ln C].
        expected_entropy: (B,), (1/S) sum_s H[p_s], in [0, H[m]].
        mutual_information: (B,), H[m] - (1/S) sum_s H[p_s], >= 0; 0 where all samples agree.
        samples_used: int64 (B,), S of each input.
        votes: (B, S, C), every p_s, or None unless asked for.
    """

    probabilities: Tensor
    entropy: Tensor
    expected_entropy: Tensor
    mutual_information: Tensor
    samples_used: Tensor
    votes: Tensor | None


def predict(
    net: nn.Module,
    x: Tensor,
    *,
    samples: int = 100,
    seed: int | torch.Generator | None = 0,
    votes: bool = False,
    inputs: Tensor | None = None,
    memory_mib: float = 256.0,
) -> Prediction:
    """Average the softmax of ``samples`` passes through ``net``.

    Sample s of input i is a function of (seed, s, i) alone: the numbers drawn do not depend on the batch, the
    memory bound or the threads. What multiplies them does, by float rounding, since a matrix product may add
    in another order for another number of rows; results agree to that rounding, and where it carries a firing
    probability over a multiple of 2^-24 that the drawn number lies on (about one draw in a million where a
    neuron has hundreds of real inputs) that one neuron fires in one case and not in the other.

    The network is run as in evaluation (its batch normalization and dropout off), at the fidelity in force,
    without gradients, and left as it was. One pass is enough, and taken, for a network that draws nothing:
    without stochastic layers, or at fidelity ``"mean"`` or ``"threshold"``.

    Several samples of several inputs share a pass, as many as the memory bound allows. In a network that is a
    chain of modules they also share what comes before the first draw, see :func:`nsm.nn.sample_outputs`.

    Args:
        net: maps (N, ...) to logits (N, C).
        x: (B, ...), inputs in floating point, finite; B >= 1.
        samples: S, in [1, 2^32].
        seed: seed of the draws, an integer in [0, 2^63) or a generator that gives one.
        votes: whether to keep the softmax of every sample.
        inputs: int64 (B,), the inputs' indices in the random streams, in [0, 2^32); None for 0 to B - 1. An
            image with the same index gets the same draws in any batch.
        memory_mib: bound on the tensors of one pass together, in MiB (2^20 bytes), > 0. The network, ``x``
            and the result come on top, and so does the workspace inside torch's operators. What a pass needs
            is found out by one over two samples of two inputs, whatever the bound; a bound too small for one
            sample of one input means that one. On a CPU more than 32 MiB is not used: larger passes are
            slower.

    Returns:
        Prediction; floating-point fields have the dtype of the logits, at least float32. Logits that are not
        finite give NaN.

    Raises:
        TypeError: if ``net`` is not a module, or an argument has the wrong type.
        ValueError: if an argument has a wrong shape or value, or ``net`` gives no logits of shape (N, C).

    >>> import nsm, torch
    >>> net = nsm.models.build("digits-mlp")
    >>> nsm.predict(net, torch.rand(3, 1, 8, 8), samples=20).probabilities.shape
    torch.Size([3, 10])
    """
    check_net(net)
    check_inputs(net, x, "x")
    check_samples(samples)
    if inputs is None:
        inputs = torch.arange(len(x))
    check_indices(inputs, len(x))
    samples = samples if is_stochastic(net) else 1
    size = PassSize(memory_bytes(memory_mib), samples, x.device)
    seed = random.resolve_seed(seed)
    return predict_in_passes(net, x, samples=samples, seed=seed, votes=votes, inputs=inputs, size=size)


def predict_in_passes(
    net: nn.Module, x: Tensor, *, seed: int, votes: bool, inputs: Tensor, samples: int, size: PassSize
) -> Prediction:
    """:func:`predict` for checked arguments: ``samples`` is 1 for a net that draws nothing, and ``size`` may
    have learned from earlier passes of the same samples.
    """
    inputs = inputs.to(x.device)

    def forward(x: Tensor, inputs: Tensor, indices: Tensor) -> Sums:
        logits = sample_outputs(net, x, seed=seed, samples=indices, inputs=inputs)
        if logits.dim() != 3:
            got = (len(x), *logits.shape[2:])
            raise ValueError(f"net must return logits of shape (N, C), got {got} for N = {len(x)}")
        return sums_of(logits, votes=votes)

    chunks: list[Sums] = []
    done = 0
    with torch.no_grad(), _evaluation(net):
        if not size.inputs:
            # Not one row: what has one row alone is often not copied, and would tell too little.
            size.run(forward, x[:2], inputs[:2], torch.arange(min(2, samples), device=x.device))
        while done < len(x):
            chunk = slice(done, done + size.inputs)
            passes: list[Sums] = []
            drawn = 0
            while drawn < samples:
                indices = torch.arange(drawn, min(samples, drawn + size.samples), device=x.device)
                passes.append(size.run(forward, x[chunk], inputs[chunk], indices))
                drawn += len(indices)
            chunks.append(over_samples(passes))
            done = chunk.stop
    return prediction_from(Sums._make(map(torch.cat, zip(*chunks, strict=True))), samples, votes=votes)


class Sums(NamedTuple):
    """Sums over samples, in float64, and the samples' softmax, (n, 0, C) unless it is kept."""

    probabilities: Tensor
    entropies: Tensor
    votes: Tensor


def sums_of(logits: Tensor, *, votes: bool) -> Sums:
    """Sums over the samples of logits (N, S, C)."""
    softmax = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1)
    wide = softmax.double()
    entropies = torch.special.entr(wide).sum((1, 2))
    return Sums(wide.sum(1), entropies, softmax if votes else softmax[:, :0].clone())


def over_samples(passes: list[Sums]) -> Sums:
    """The passes over different samples of the same inputs together."""
    return Sums(
        torch.stack([part.probabilities for part in passes]).sum(0),
        torch.stack([part.entropies for part in passes]).sum(0),
        torch.cat([part.votes for part in passes], dim=1),
    )


def prediction_from(sums: Sums, samples: int, *, votes: bool) -> Prediction:
    """What sums over ``samples`` samples of each input say."""
    mean = sums.probabilities / samples
    entropy = torch.special.entr(mean).sum(1)
    expected = sums.entropies / samples
    dtype = sums.votes.dtype
    return Prediction(
        probabilities=mean.to(dtype),
        entropy=entropy.to(dtype),
        expected_entropy=expected.to(dtype),
        # Concavity makes it >= 0; rounding alone can make it -1e-16.
        mutual_information=(entropy - expected).clamp(min=0.0).to(dtype),
        samples_used=torch.full((len(mean),), samples, device=mean.device),
        votes=sums.votes if votes else None,
    )


@contextmanager
def _evaluation(net: nn.Module) -> Iterator[None]:
    """Every module of ``net`` in evaluation mode inside the block, and as it was after it."""
    training = [module for module in net.modules() if module.training]
    net.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def check_net(net: object) -> None:
    """Refuse what is not a module."""
    if not isinstance(net, nn.Module):
        raise TypeError(f"net must be a torch.nn.Module, got {type(net).__name__}")


def check_samples(samples: object) -> None:
    """Refuse what is not a number of samples."""
    if isinstance(samples, bool) or not isinstance(samples, int):
        raise TypeError(f"samples must be an int, got {type(samples).__name__}")
    if not 1 <= samples <= random.MAX_INDEX + 1:
        raise ValueError(f"samples must be in [1, 2^32], got {samples}")


def memory_bytes(memory_mib: object) -> int:
    """The bound in bytes; refuses what is none."""
    if isinstance(memory_mib, bool) or not isinstance(memory_mib, (int, float)):
        raise TypeError(f"memory_mib must be a number, got {type(memory_mib).__name__}")
    if not (math.isfinite(memory_mib) and memory_mib > 0):
        raise ValueError(f"memory_mib must be a finite number > 0, got {memory_mib}")
    return math.ceil(memory_mib * MIB)


def check_inputs(net: nn.Module, x: object, name: str) -> None:
    """Refuse inputs that ``net`` cannot take; ``name`` is what the caller calls them."""
    if not isinstance(x, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type(x).__name__}")
    if not x.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {x.dtype}")
    image = getattr(net, "image", None)
    if isinstance(image, tuple) and x.shape[1:] != image:
        raise ValueError(
            f"{name} must have shape (B, {', '.join(map(str, image))}), which this network takes, "
            f"got {tuple(x.shape)}"
        )
    if x.dim() < 2 or not len(x):
        raise ValueError(f"{name} must have shape (B, ...) with B >= 1, got {tuple(x.shape)}")
    finite = x.isfinite().flatten(1).all(1)
    if not finite.all():
        first = int((~finite).nonzero()[0])
        raise ValueError(f"{name} must be finite, but input {first} holds NaN or infinity")


def check_indices(inputs: object, count: int) -> None:
    """Refuse what are not the indices of ``count`` inputs."""
    if not isinstance(inputs, Tensor) or inputs.dtype != torch.int64:
        got = inputs.dtype if isinstance(inputs, Tensor) else type(inputs).__name__
        raise TypeError(f"inputs must be an int64 tensor, got {got}")
    if inputs.shape != (count,):
        raise ValueError(
            f"inputs must have shape ({count},), one index for each input, got {tuple(inputs.shape)}"
        )
    least, largest = (int(value) for value in inputs.aminmax())
    if least < 0 or largest > random.MAX_INDEX:
        raise ValueError(f"inputs must hold indices in [0, 2^32), got {least} to {largest}")
