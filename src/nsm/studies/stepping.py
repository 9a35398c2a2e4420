"""Training one step at a time, for studies that look at a network between steps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from nsm.data import Splits
from nsm.training import Config, fresh_network
from nsm.training.denormals import flushed_denormals
from nsm.training.processes import launch
from nsm.training.run import Run
from nsm.training.signals import StopRequest


def stepped(config: Config, splits: Splits) -> Iterator[Run]:
    """The run of ``config``, before its first step and after each of them; nothing is written.

    Its weights after a number of steps are those of :func:`nsm.training.train`. Who looks must leave the
    network as it is; validation images have no part in it.

    Args:
        config: the whole description of the run.
        splits: its images.

    Raises:
        NotFiniteError: if infinity or NaN appears.
    """
    nothing = torch.empty(0, dtype=torch.int64)
    with flushed_denormals(), torch.random.fork_rng(devices=[]):
        net = fresh_network(config, splits.train)
        alone = splits._replace(validation=splits.validation.subset(nothing))
        run = Run(launch(config.training.precision), config, net, alone, Path())
        yield run
        while len(run.progress.rows) < config.training.epochs:
            for shard in run.shards():
                run.step(shard, StopRequest())
                yield run
            run.end_epoch()
