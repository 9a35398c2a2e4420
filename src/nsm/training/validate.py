"""Error and likelihood of a network on a set of images, during training."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from nsm.data import ImageSet
from nsm.nn import is_stochastic, sample_outputs
from nsm.training.batches import for_net
from nsm.training.processes import summed
from nsm.training.step import averaged_scores

if TYPE_CHECKING:
    from lightning_fabric import Fabric

_ROWS = 1000  # samples in one pass: large enough for full speed, some tens of megabytes in the convolutions


class Validation(NamedTuple):
    """Share of wrong predictions in percent, and mean negative log-likelihood in nats."""

    error_percent: float
    nll: float


@torch.no_grad()
def validate(fabric: Fabric, net: nn.Module, images: ImageSet, *, samples: int, seed: int) -> Validation:
    """Score the softmax averaged over Monte Carlo samples; every process takes its share of the images.

    Args:
        fabric: runs precision and communication.
        net: the network, without a wrapper; it is scored as in evaluation and left as it was.
        images: at least one image.
        samples: samples of each image; one is enough, and taken, for a network that draws nothing.
        seed: seed of the draws.
    """
    indices = torch.arange(samples if is_stochastic(net) else 1, device=fabric.device)
    mine = torch.arange(fabric.global_rank, len(images), fabric.world_size)
    training = net.training
    net.eval()
    sums = torch.zeros(2, dtype=torch.float64, device=fabric.device)
    for chunk in torch.split(mine, max(1, _ROWS // len(indices))):
        pixels, targets = (part.to(fabric.device) for part in images.batch(chunk))
        with fabric.autocast():
            outputs = sample_outputs(
                net, for_net(net, pixels), seed=seed, samples=indices, inputs=chunk.to(fabric.device)
            )
        scores = averaged_scores(outputs.float()).log_softmax(-1)
        sums[0] += (scores.argmax(-1) != targets).sum()
        sums[1] -= scores.gather(1, targets[:, None]).double().sum()
    net.train(training)
    errors, nll = summed(fabric, sums.tolist())
    return Validation(100.0 * errors / len(images), nll / len(images))
