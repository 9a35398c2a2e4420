"""Monte Carlo prediction: the average of many sampled passes, and what their disagreement says."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nsm import random
from nsm.inference.checks import (
    check_indices,
    check_inputs,
    check_sequential,
    check_votes,
    checked_noise,
    fixed_samples,
    memory_bytes,
)
from nsm.inference.passes import PassSize, evaluation_mode
from nsm.inference.prediction import Part, Prediction, logits_of, over_inputs, over_samples, part_of
from nsm.inference.reasons import Reason
from nsm.inference.sequential import settle
from nsm.inference.settling import MarginNoise
from nsm.inference.sources import NetworkSource, probe
from nsm.nn import is_stochastic
from nsm.nn.checks import check_net


def predict(
    net: nn.Module,
    x: Tensor,
    *,
    samples: int | None = None,
    confidence: float | None = None,
    max_samples: int | None = None,
    noise: MarginNoise | None = None,
    seed: int | torch.Generator | None = 0,
    votes: bool = False,
    inputs: Tensor | None = None,
    memory_mib: float = 256.0,
) -> Prediction:
    """Average the softmax of passes through ``net``: a fixed number of ``samples``, or as many as each input
    needs for a ``confidence``.

    Sample s of input i is a function of (seed, s, i) alone: the numbers drawn do not depend on the batch, the
    memory bound or the threads. What multiplies them does, by float rounding, since a matrix product may add
    in another order for another number of rows; results agree to that rounding, and where it carries a firing
    probability over a multiple of 2^-24 that the drawn number lies on (about one draw in a million where a
    neuron has hundreds of real inputs) that one neuron fires in one case and not in the other.

    With a confidence, every input is sampled until its leading class, the one of the largest mean logit, is
    settled: the chance that a class is ever declared the leading one and is not is at most 1 - confidence for
    each input, however ambiguous it is. :mod:`nsm.inference.settling` has the test and ``docs/confidence.md``
    what it rests on. An input leaves the batch as soon as it is settled, or as it is clear that
    ``max_samples`` would hardly settle it (:mod:`nsm.inference.futility`); nothing is promised for the
    latter. Its samples depend on nothing but itself.

    The network is run as in evaluation (its batch normalization and dropout off), at the fidelity in force,
    without gradients, and left as it was. One pass is enough, and taken, for a network that draws nothing:
    without stochastic layers, or at a fidelity that draws nothing.

    Several samples of several inputs share a pass, as many as the memory bound allows. In a network that is a
    chain of modules they also share what comes before the first draw, see :func:`nsm.nn.sample_outputs`.

    Args:
        net: maps (N, ...) to logits (N, C).
        x: (B, ...), inputs in floating point, finite; B >= 1.
        samples: S, in [1, 2^32]; None for 100, unless a confidence is given instead.
        confidence: in (0, 1); None for a fixed number of samples.
        max_samples: most samples of an input, in [1, 2^32], with a confidence; None for 1000.
        noise: law of the margins' noise, with a confidence; None for the default one.
        seed: seed of the draws, an integer in [0, 2^63) or a generator that gives one.
        votes: whether to keep the softmax of every sample; not with a confidence.
        inputs: int64 (B,), the inputs' indices in the random streams, in [0, 2^32); None for 0 to B - 1. An
            image with the same index gets the same draws in any batch.
        memory_mib: bound on the tensors of one pass together, in MiB (2^20 bytes), > 0. The network, ``x``
            and the result come on top, and so does the workspace inside torch's operators. What a pass needs
            is found out by one over two samples of two inputs, whatever the bound; a bound too small for one
            sample of one input means that one. On a CPU more than 32 MiB is not used: larger passes are
            slower. The test for a confidence keeps 8 C^2 bytes for each input on top, and takes about five
            times that while it counts a sample.

    Returns:
        Prediction; floating-point fields have the dtype of the logits, at least float32. Logits that are not
        finite give NaN.

    Raises:
        TypeError: if ``net`` is not a module, or an argument has the wrong type.
        ValueError: if an argument has a wrong shape or value or does not go with another, or ``net`` gives no
            logits of shape (N, C).

    >>> import nsm, torch
    >>> net = nsm.models.build("digits-mlp")
    >>> nsm.predict(net, torch.rand(3, 1, 8, 8), samples=20).probabilities.shape
    torch.Size([3, 10])
    >>> settled = nsm.predict(net, torch.rand(3, 1, 8, 8), confidence=0.99, max_samples=50)
    >>> bool((settled.samples_used <= 50).all())
    True
    """
    check_net(net)
    check_inputs(net, x, "x")
    if inputs is None:
        inputs = torch.arange(len(x))
    check_indices(inputs, len(x))
    check_votes(votes)
    bound = memory_bytes(memory_mib)
    if confidence is None:
        samples = fixed_samples(samples, max_samples, noise)
        samples = samples if is_stochastic(net) else 1
        size = PassSize(bound, samples, x.device)
        seed = random.resolve_seed(seed)
        return predict_in_passes(net, x, samples=samples, seed=seed, votes=votes, inputs=inputs, size=size)
    max_samples = check_sequential(confidence, max_samples, samples, votes=votes)
    return predict_until_settled(
        net,
        x,
        confidence=confidence,
        max_samples=max_samples,
        noise=checked_noise(noise),
        seed=random.resolve_seed(seed),
        inputs=inputs,
        size=PassSize(bound, 1, x.device),
    )


def predict_until_settled(
    net: nn.Module,
    x: Tensor,
    *,
    confidence: float,
    max_samples: int,
    noise: MarginNoise,
    seed: int,
    inputs: Tensor,
    size: PassSize,
) -> Prediction:
    """:func:`predict` with a confidence, for checked arguments; ``size`` is one for single samples, and may
    have learned from earlier passes.
    """
    classes = probe(net, x, seed=seed, size=size)
    source = NetworkSource(net, x, inputs=inputs, seed=seed, size=size, classes=classes)
    return settle(source, len(x), confidence=confidence, max_samples=max_samples, noise=noise)


def predict_in_passes(
    net: nn.Module, x: Tensor, *, seed: int, votes: bool, inputs: Tensor, samples: int, size: PassSize
) -> Prediction:
    """:func:`predict` of a fixed number of samples for checked arguments: ``samples`` is 1 for a net that
    draws nothing, and ``size`` may have learned from earlier passes of the same samples.
    """
    inputs = inputs.to(x.device)

    def forward(x: Tensor, inputs: Tensor, indices: Tensor) -> Part:
        return part_of(logits_of(net, x, seed=seed, samples=indices, inputs=inputs), votes=votes)

    chunks: list[Part] = []
    done = 0
    with torch.no_grad(), evaluation_mode(net):
        if not size.inputs:
            # Not one row: what has one row alone is often not copied, and would tell too little.
            size.run(forward, x[:2], inputs[:2], torch.arange(min(2, samples), device=x.device))
        while done < len(x):
            chunk = slice(done, done + size.inputs)
            passes: list[Part] = []
            drawn = 0
            while drawn < samples:
                indices = torch.arange(drawn, min(samples, drawn + size.samples), device=x.device)
                passes.append(size.run(forward, x[chunk], inputs[chunk], indices))
                drawn += len(indices)
            chunks.append(over_samples(passes))
            done = chunk.stop
    reason = Reason.SAMPLES if is_stochastic(net) else Reason.EXACT
    return over_inputs(chunks, samples, reason, votes=votes)
