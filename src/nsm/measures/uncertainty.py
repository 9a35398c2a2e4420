"""What samples say about themselves, as means over everything seen."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from nsm.measures.average import Average
from nsm.measures.checks import check_probabilities, check_samples


class _MeanUncertainty(Average):
    """Mean over inputs of a function of their samples."""

    higher_is_better = None


class Entropy(_MeanUncertainty):
    """Mean entropy -sum_c p_c ln p_c of class probabilities, in nats.

    >>> entropy = Entropy()
    >>> entropy.update(torch.tensor([[0.5, 0.5], [1.0, 0.0]]))
    >>> f"{entropy.compute():.4f}"
    '0.3466'
    """

    def update(self, probs: Tensor) -> None:
        """Count inputs.

        Args:
            probs: (N, C), class probabilities, or (N, S, C), those of S >= 1 samples of each input: the
                entropy is that of their mean.

        Raises:
            TypeError: if it is no floating-point tensor.
            ValueError: if it has another shape, or holds no probabilities.
        """
        if getattr(probs, "ndim", 2) == 3:
            mean = check_samples(probs).double().mean(1)
        else:
            mean = check_probabilities(probs, "(N, C)").double()
        self._add(torch.special.entr(mean).sum(-1))


class MutualInformation(_MeanUncertainty):
    """Mean of H[m] - (1/S) sum_s H[p_s] over inputs, m the mean of an input's samples p_s, in nats.

    The part of the entropy that comes from disagreement among samples (Houlsby et al., arXiv 1112.5745).
    """

    def update(self, probs: Tensor) -> None:
        """Count inputs.

        Args:
            probs: (N, S, C), class probabilities of S samples of each input, S >= 1.

        Raises:
            TypeError: if it is no floating-point tensor.
            ValueError: if it has another shape, or holds no probabilities.
        """
        wide = check_samples(probs).double()
        whole = torch.special.entr(wide.mean(1)).sum(-1)
        own = torch.special.entr(wide).sum(-1).mean(1)
        self._add((whole - own).clamp(min=0.0))


class Disagreement(_MeanUncertainty):
    """Mean share of the pairs of an input's samples that decide for different classes, in [0, 1].

    >>> disagreement = Disagreement()
    >>> disagreement.update(torch.tensor([[[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]]))
    >>> f"{disagreement.compute():.4f}"
    '0.6667'
    """

    def update(self, probs: Tensor) -> None:
        """Count inputs.

        Args:
            probs: (N, S, C), class probabilities of S samples of each input, S >= 2.

        Raises:
            TypeError: if it is no floating-point tensor.
            ValueError: if it has another shape, or holds no probabilities.
        """
        probs = check_samples(probs, least=2)
        samples = probs.shape[1]
        votes = F.one_hot(probs.argmax(-1), probs.shape[-1]).sum(1)
        same = (votes * (votes - 1)).sum(-1).double() / (samples * (samples - 1))
        self._add(1.0 - same)
