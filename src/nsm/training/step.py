"""One training step on a global batch: loss, gradient, update."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nsm.nn import fidelity, sample_outputs
from nsm.training.config import LossName, TrainingConfig

if TYPE_CHECKING:
    from lightning_fabric import Fabric


class SampledNet(nn.Module):
    """A network with the drawing of its samples inside ``forward``, so that a wrapper for several processes
    goes around both.

    Args:
        net: the network.
        seed: seed of all draws, in [0, 2^63).
        draws: samples K of each input in one step.
    """

    def __init__(self, net: nn.Module, *, seed: int, draws: int) -> None:
        super().__init__()
        self.net = net
        self.seed, self.draws = torch.tensor(seed), draws

    def forward(self, images: Tensor, positions: Tensor, step: int) -> Tensor:
        """K samples for each image: (n, ...) to (n, K, C).

        Sample k of step t has index t K + k, and an image's index is its position in the global batch, so
        that draws do not depend on how many processes share the batch.
        """
        samples = torch.arange(step * self.draws, (step + 1) * self.draws, device=images.device)
        return sample_outputs(self.net, images, seed=self.seed, samples=samples, inputs=positions)


class Shard(NamedTuple):
    """One process's part of a global batch.

    Attributes:
        images: float (n, C, H, W), n >= 1.
        targets: int64 (n,).
        positions: int64 (n,), places in the global batch.
        batch: size of the global batch.
        weight: 1, or 0 for a stand-in where a small batch leaves nothing for this process.
    """

    images: Tensor
    targets: Tensor
    positions: Tensor
    batch: int
    weight: int = 1


class Outcome(NamedTuple):
    """What one step found on this process's shard.

    Attributes:
        loss: sum of the examples' losses.
        errors: number of examples whose averaged prediction is wrong.
        gradient_norm: Euclidean norm of the whole gradient, the same in all processes.
    """

    loss: Tensor
    errors: Tensor
    gradient_norm: Tensor


def losses(outputs: Tensor, targets: Tensor, kind: LossName, label_smoothing: float) -> Tensor:
    """The loss of each example, in nats.

    Args:
        outputs: logits (n, K, C) of K samples.
        targets: int64 (n,).
        kind: ``"average"``: cross-entropy of the softmax averaged over the samples; ``"sample"``: mean of the
            samples' cross-entropies, never smaller (Jensen).
        label_smoothing: share of the target spread evenly over the classes.

    Returns:
        (n,).
    """
    if kind == "average":
        # Averaged scores are logarithms of probabilities, which are their own log-softmax.
        scores = averaged_scores(outputs)
        return F.cross_entropy(scores, targets, reduction="none", label_smoothing=label_smoothing)
    repeated = targets[:, None].expand(outputs.shape[:2])
    scores = outputs.transpose(1, 2)
    return F.cross_entropy(scores, repeated, reduction="none", label_smoothing=label_smoothing).mean(1)


def averaged_scores(outputs: Tensor) -> Tensor:
    """Logits (n, C) of the softmax averaged over K samples of logits (n, K, C)."""
    draws = outputs.shape[1]
    if draws == 1:
        return outputs[:, 0]
    return outputs.log_softmax(-1).logsumexp(1) - math.log(draws)


def _handed_on(config: TrainingConfig, done: float) -> AbstractContextManager[None]:
    """The fidelity of a step before which this share of all steps was done."""
    if done < config.means:
        return fidelity("mean")
    return fidelity("marginal") if done < config.marginals else nullcontext()


def backward(
    fabric: Fabric,
    sampled: nn.Module,
    parameters: Sequence[nn.Parameter],
    shard: Shard,
    config: TrainingConfig,
    step: int,
    total: int,
) -> Outcome:
    """Compute the gradient of the global batch's mean loss into ``.grad``.

    Args:
        fabric: runs precision and communication.
        sampled: a :class:`SampledNet`, wrapped by ``fabric``.
        parameters: its parameters.
        shard: this process's part of the batch.
        config: loss and smoothing.
        step: number of the step, in [0, total).
        total: steps of the whole run.
    """
    for parameter in parameters:
        parameter.grad = None
    with _handed_on(config, step / total):
        outputs = sampled(shard.images, shard.positions, step).float()
    loss = losses(outputs, shard.targets, config.loss, config.label_smoothing).sum() * shard.weight
    # Processes average their gradients: the factor turns that into the sum over the global batch.
    fabric.backward(loss * (fabric.world_size / shard.batch))
    with torch.no_grad():
        wrong = averaged_scores(outputs).argmax(-1) != shard.targets
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    return Outcome(loss.detach(), wrong.sum() * shard.weight, norm)
