"""From a set of images to the shards of an epoch's batches."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from nsm import random
from nsm.data import ImageSet
from nsm.nn import channels_last
from nsm.training import augment
from nsm.training.config import Config
from nsm.training.step import Shard


def for_net(net: nn.Module, images: Tensor) -> Tensor:
    """``images`` (B, C, H, W) in the memory format in which ``net`` is fastest: channels last before
    convolutions.
    """
    return channels_last(images) if convolutional(net) else images


def convolutional(net: nn.Module) -> bool:
    """Whether ``net`` has 2-d convolutions."""
    return any(isinstance(module, nn.Conv2d) for module in net.modules())


def steps_per_epoch(config: Config, images: ImageSet) -> int:
    """Batches of one epoch; the last one may be smaller."""
    return -(-len(images) // config.training.batch_size)


def shards(
    config: Config,
    net: nn.Module,
    images: ImageSet,
    *,
    epoch: int,
    first: int,
    rank: int,
    processes: int,
    device: torch.device,
) -> Iterator[Shard]:
    """This process's part of every batch of an epoch, from batch number ``first`` on.

    Order and augmentation are functions of (seed, epoch, example): an iteration that starts in the middle
    gives what a whole one would have given.
    """
    seed, size = config.training.seed, config.training.batch_size
    order = random.permutation(random.derive(seed, "order"), epoch, len(images))
    changes, copies = _changed(config, images, epoch)
    for batch in torch.split(order, size)[first:]:
        places = torch.arange(len(batch)).tensor_split(processes)[rank]
        # A process without work stands in with the first example at weight 0: all have to communicate.
        weight = min(1, len(places))
        places = places if weight else torch.zeros(1, dtype=torch.int64)
        chosen = batch[places]
        pixels, targets = images.batch(chosen, None if copies is None else copies[chosen])
        pixels = changes.applied(pixels, chosen, config.augmentation)
        yield Shard(
            for_net(net, pixels.to(device)), targets.to(device), places.to(device), len(batch), weight
        )


def _changed(config: Config, images: ImageSet, epoch: int) -> tuple[augment.Changes, Tensor | None]:
    """What is done to each image in an epoch, and which of its copies is shown; None for the image itself."""
    if epoch / config.training.epochs >= config.augmentation.until:
        return augment.Changes(), None
    examples, drawn_by = torch.arange(len(images)), random.derive(config.training.seed, "augmentation")
    channels, height, width = images.images.shape[1:]
    shape = (channels, height, width)
    changes = augment.changes(config.augmentation, examples, shape, seed=drawn_by, epoch=epoch)
    if images.copies is None:
        return changes, None
    return changes, augment.turns(len(images.copies), examples, drawn_by, epoch=epoch)
