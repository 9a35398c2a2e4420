"""The result of Monte Carlo prediction, and how it follows from sums over samples."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nsm.inference.reasons import Reason
from nsm.nn import sample_outputs


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
        reasons: int64 (B,), why sampling of each input ended, a :class:`nsm.inference.Reason`.
    """

    probabilities: Tensor
    entropy: Tensor
    expected_entropy: Tensor
    mutual_information: Tensor
    samples_used: Tensor
    votes: Tensor | None
    reasons: Tensor | None = None


class Sums(NamedTuple):
    """Sums over the samples of n inputs, in float64.

    Attributes:
        probabilities: (n, C), sum of p_s.
        entropies: (n,), sum of H[p_s].
        samples: int64 (n,), number of samples.
    """

    probabilities: Tensor
    entropies: Tensor
    samples: Tensor

    def prediction(
        self, dtype: torch.dtype, reasons: Tensor | None, votes: Tensor | None = None
    ) -> Prediction:
        """What these samples say, in ``dtype``."""
        mean = self.probabilities / self.samples[:, None]
        entropy = torch.special.entr(mean).sum(1)
        expected = self.entropies / self.samples
        return Prediction(
            probabilities=mean.to(dtype),
            entropy=entropy.to(dtype),
            expected_entropy=expected.to(dtype),
            # Concavity makes it >= 0; rounding alone can make it -1e-16.
            mutual_information=(entropy - expected).clamp(min=0.0).to(dtype),
            samples_used=self.samples,
            votes=votes,
            reasons=reasons,
        )


class Part(NamedTuple):
    """Sums over some samples of n inputs, in float64, and their softmax, (n, 0, C) unless it is kept."""

    probabilities: Tensor
    entropies: Tensor
    votes: Tensor


def part_of(logits: Tensor, *, votes: bool) -> Part:
    """Samples with logits (n, k, C), added up."""
    softmax = softmax_of(logits)
    wide = softmax.double()
    entropies = torch.special.entr(wide).sum((1, 2))
    return Part(wide.sum(1), entropies, softmax if votes else softmax[:, :0].clone())


def over_samples(parts: list[Part]) -> Part:
    """Parts over different samples of the same inputs together."""
    return Part(
        torch.stack([part.probabilities for part in parts]).sum(0),
        torch.stack([part.entropies for part in parts]).sum(0),
        torch.cat([part.votes for part in parts], dim=1),
    )


def over_inputs(parts: list[Part], samples: int, reason: Reason, *, votes: bool) -> Prediction:
    """What parts over all ``samples`` samples of different inputs say together."""
    whole = Part._make(map(torch.cat, zip(*parts, strict=True)))
    used = torch.full_like(whole.entropies, samples, dtype=torch.int64)
    sums = Sums(whole.probabilities, whole.entropies, used)
    return sums.prediction(whole.votes.dtype, torch.full_like(used, reason), whole.votes if votes else None)


def joined(parts: list[Prediction], device: torch.device) -> Prediction:
    """Predictions of different inputs as one on ``device``; votes are dropped."""

    def together(name: str) -> Tensor:
        return torch.cat([getattr(part, name).to(device) for part in parts])

    names = [name for name in Prediction._fields if name != "votes"]
    return Prediction(votes=None, **{name: together(name) for name in names})


def averaged(parts: list[Prediction]) -> Prediction:
    """What all samples of several predictions of the same inputs say together, without votes; sampling ended
    for the reasons of the first.
    """

    def together(name: str) -> Tensor:
        return torch.stack([getattr(part, name) for part in parts])

    used = together("samples_used")
    probabilities = (used[:, :, None] * together("probabilities").double()).sum(0)
    entropies = (used * together("expected_entropy").double()).sum(0)
    sums = Sums(probabilities, entropies, used.sum(0))
    return sums.prediction(parts[0].probabilities.dtype, parts[0].reasons)


def softmax_of(logits: Tensor) -> Tensor:
    """Class probabilities of logits (..., C), in float32 at the least."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1)


def logits_of(net: nn.Module, x: Tensor, *, seed: int, samples: Tensor, inputs: Tensor) -> Tensor:
    """Logits (n, k, C) of one pass that draws samples number ``samples`` (k,) of ``x`` (n, ...), whose own
    indices are ``inputs`` (n,).

    Raises:
        ValueError: if ``net`` gives anything else.
    """
    logits = sample_outputs(net, x, seed=seed, samples=samples, inputs=inputs)
    if logits.dim() != 3:
        got = (len(x), *logits.shape[2:])
        raise ValueError(f"net must return logits of shape (N, C), got {got} for N = {len(x)}")
    return logits
