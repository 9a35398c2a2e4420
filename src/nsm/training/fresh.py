"""The network that a run starts with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nsm import models, nn, random
from nsm.data import ImageSet
from nsm.models import Network
from nsm.training.checkpoint import CHECKPOINT_FILE
from nsm.training.config import Config
from nsm.training.memory import give_back_freed_memory

_CALIBRATION = 500  # images from which initial gains and biases are set


def fresh_network(config: Config, images: ImageSet) -> Network:
    """The network with which a run of ``config`` on ``images`` starts: that of ``training.start``, one that
    follows it where that is its twin, or weights drawn by its seed, whitening layers set, gains and biases
    calibrated where ``training.spread`` asks for it.

    Raises:
        ModelFileError: if ``training.start`` cannot be read.
        ValueError: if another network lies there.
    """
    training = config.training
    net = _drawn_network(config)
    started = None if training.start is None else models.load(training.start)
    if started is not None and started.config == net.config:
        return started
    seed = random.derive(training.seed, "calibration")
    if started is not None:
        _check_twin(net, started, training.start)
        models.follow(net, started, _calibration(config, images), seed=seed)
    else:
        batch = _calibration(config, images)
        models.whiten(net, batch)
        if training.spread is not None and nn.stochastic_layers(net):
            nn.calibrate(net, batch, spread=training.spread, seed=seed)
    give_back_freed_memory()
    return net


def initial_network(config: Config, images: ImageSet, folder: Path) -> Network:
    """The network to which the checkpoint in ``folder`` gives all that was learned, or
    :func:`fresh_network` where there is none.

    What a run started from need not be there any more when it is resumed.
    """
    # False for a folder that cannot be read, which is named when it is prepared.
    if os.path.exists(folder / CHECKPOINT_FILE):  # noqa: PTH110 (Path.exists raises)
        return _drawn_network(config)
    return fresh_network(config, images)


def _drawn_network(config: Config) -> Network:
    network = config.network
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(random.derive(config.training.seed, "weights"))
        overrides: Any = network.overrides  # checked against the types of build
        return models.build(network.name, model=network.model, noise=network.noise, **overrides)


def _calibration(config: Config, images: ImageSet) -> Tensor:
    order = random.permutation(random.derive(config.training.seed, "order"), 0, len(images))
    return images.batch(order[:_CALIBRATION])[0]


def _check_twin(net: Network, started: Network, folder: str | None) -> None:
    if models.can_follow(net, started):
        return
    key = next(key for key, value in net.config.items() if started.config[key] != value)
    raise ValueError(
        f"training.start must be the folder of a network with {key} {net.config[key]!r}, or of its trained "
        f"twin without centered weights, got {folder!r}, which has {started.config[key]!r}"
    )
