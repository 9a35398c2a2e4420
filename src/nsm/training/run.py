"""A run's moving parts: network, optimizer, average and progress, one step or one epoch at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from nsm import random
from nsm.data import Splits
from nsm.models import Network
from nsm.training.averaging import WeightAverage
from nsm.training.batches import convolutional, shards, steps_per_epoch
from nsm.training.checkpoint import CHECKPOINT_FILE, Progress, load_checkpoint, save_checkpoint
from nsm.training.config import Config
from nsm.training.errors import CheckpointError, NotFiniteError
from nsm.training.finite import all_finite, first_not_finite
from nsm.training.metrics import EpochMetrics
from nsm.training.optimizer import build_optimizer, set_rates
from nsm.training.processes import summed
from nsm.training.schedule import schedule
from nsm.training.signals import StopRequest
from nsm.training.step import Outcome, SampledNet, Shard, backward
from nsm.training.validate import validate

if TYPE_CHECKING:
    from lightning_fabric import Fabric


_SPANS = 10  # of the average of the weights, at least, that a run lasts: it is to forget how the run began


class Decision(NamedTuple):
    """What all processes do after a step: end the run, write a checkpoint."""

    stop: bool
    save: bool


class Run:
    """One training run between its start and its end.

    Args:
        fabric: runs precision and communication; launched.
        config: the whole description of the run.
        net: the network with fresh weights.
        splits: training and validation images.
        folder: run folder.

    Attributes:
        progress: where the run stands.
        total: steps of the whole run.
    """

    def __init__(self, fabric: Fabric, config: Config, net: Network, splits: Splits, folder: Path) -> None:
        self.fabric, self.config, self.splits, self.folder = fabric, config, splits, folder
        if convolutional(net):
            net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net = net.to(fabric.device)
        training = config.training
        self.epoch_steps = steps_per_epoch(config, splits.train)
        self.total = training.epochs * self.epoch_steps
        self.average = (
            None
            if training.averaging is None
            else WeightAverage(self.net, min(training.averaging, max(0.0, 1.0 - _SPANS / self.total)))
        )
        draws_seed = random.derive(training.seed, "draws")
        self._plain = SampledNet(self.net, seed=draws_seed, draws=training.draws)
        self._optimizer = build_optimizer(self.net, training)
        self._wrapped, self._step = fabric.setup(self._plain, self._optimizer)
        self._parameters = list(self.net.parameters())
        self._schedule = schedule(training)
        self.progress = Progress()
        self._saved_step, self._saved_time = 0, time.monotonic()

    @property
    def final_net(self) -> Network:
        """The network that is validated and saved: the average where there is one."""
        return self.net if self.average is None else self.average.net

    def shards(self) -> Iterator[Shard]:
        """What is left of the current epoch."""
        epoch = len(self.progress.rows)
        return shards(
            self.config,
            self.net,
            self.splits.train,
            epoch=epoch,
            first=self.progress.step - epoch * self.epoch_steps,
            rank=self.fabric.global_rank,
            processes=self.fabric.world_size,
            device=self.fabric.device,
        )

    def step(self, shard: Shard, request: StopRequest) -> Decision:
        """One update of the weights.

        Args:
            shard: this process's part of the batch.
            request: whether this process is asked to end the run, read at the end of the step.

        Raises:
            NotFiniteError: before the update, if loss or gradient is not finite.
        """
        progress, training = self.progress, self.config.training
        set_rates(self._optimizer, training, self._schedule(progress.step, self.total))
        self._seed_torch()
        outcome = backward(
            self.fabric, self._wrapped, self._parameters, shard, training, progress.step, self.total
        )
        loss, errors, decision = self._agree(outcome, request)
        norm = float(outcome.gradient_norm)
        if not math.isfinite(loss + norm):
            raise NotFiniteError(self._explain(shard))
        if training.clip is not None:
            nn.utils.clip_grads_with_norm_(self._parameters, training.clip, outcome.gradient_norm)
        self._step.step()
        progress.step += 1
        if self.average is not None:
            self.average.update(progress.step)
        progress.loss += loss
        progress.errors += errors
        return decision

    def averages(self) -> tuple[float, float]:
        """Mean loss and error in percent over the current epoch's steps so far."""
        done = (
            self.progress.step - len(self.progress.rows) * self.epoch_steps
        ) * self.config.training.batch_size
        seen = min(done, len(self.splits.train))
        return self.progress.loss / seen, 100.0 * self.progress.errors / seen

    def end_epoch(self) -> EpochMetrics:
        """Validate, and close the current epoch with a row of metrics."""
        progress, training = self.progress, self.config.training
        started = time.perf_counter()
        error: float | None = None
        nll: float | None = None
        if len(self.splits.validation):
            self._seed_torch()
            error, nll = validate(
                self.fabric,
                self.final_net,
                self.splits.validation,
                samples=training.eval_samples,
                seed=random.derive(training.seed, "validation"),
            )
        rate = training.lr * self._schedule(progress.step - 1, self.total).lr_factor
        seconds = progress.seconds + time.perf_counter() - started
        row = EpochMetrics(len(progress.rows) + 1, progress.step, *self.averages(), error, nll, rate, seconds)
        progress.rows.append(row)
        progress.loss, progress.errors, progress.seconds = 0.0, 0, 0.0
        return row

    def save(self) -> None:
        """Write the checkpoint, from the first process.

        Raises:
            NotFiniteError: if a weight is not finite; the file stays as it was.
        """
        if not all_finite(self.net):
            where = first_not_finite(self.net, lambda: None)
            raise NotFiniteError(f"after step {self.progress.step} {where} is not finite")
        if self.fabric.is_global_zero:
            save_checkpoint(self.folder / CHECKPOINT_FILE, self._tensors(), self.progress, self.config)
        self._saved_step, self._saved_time = self.progress.step, time.monotonic()

    def restore(self) -> None:
        """Continue from the folder's checkpoint if there is one.

        Raises:
            CheckpointError: if it cannot be continued.
        """
        path = self.folder / CHECKPOINT_FILE
        if not path.exists():
            return
        self.progress = load_checkpoint(path, self._tensors(), self.config)
        epochs, step = len(self.progress.rows), self.progress.step
        if not epochs * self.epoch_steps <= step <= min(self.total, (epochs + 1) * self.epoch_steps):
            raise CheckpointError(
                f"{path}: step {step} after {epochs} epochs does not fit {self.epoch_steps} steps per epoch: "
                "the training images are not those of the run"
            )
        self._saved_step = step

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average.{name}": value for name, value in self.average.net.state_dict().items()}
        for name, parameter in self.net.named_parameters():
            state = self._optimizer.state[parameter]
            tensors |= {f"optimizer.{name}.{key}": value for key, value in state.items()}
        return tensors

    def _seed_torch(self) -> None:
        """Modules that draw from torch's default generator (dropout) depend on the step alone, too."""
        label = (self.progress.step, self.fabric.global_rank)
        device = self.fabric.device
        cuda = device.type == "cuda"
        generator = torch.cuda.default_generators[device.index or 0] if cuda else torch.default_generator
        generator.manual_seed(random.derive(self.config.training.seed, "torch", *label))

    def _agree(self, outcome: Outcome, request: StopRequest) -> tuple[float, int, Decision]:
        """Loss and errors of the whole batch, and what any process wants to do next."""
        mine = (float(outcome.loss), float(outcome.errors), bool(request.signal), self._save_due())
        loss, errors, stops, saves = summed(self.fabric, mine)
        return loss, round(errors), Decision(stops > 0, saves > 0)

    def _save_due(self) -> bool:
        training = self.config.training
        steps = self.progress.step + 1 - self._saved_step
        minutes = (time.monotonic() - self._saved_time) / 60.0
        return (training.checkpoint_steps is not None and steps >= training.checkpoint_steps) or (
            training.checkpoint_minutes is not None and minutes >= training.checkpoint_minutes
        )

    def _explain(self, shard: Shard) -> str:
        step = self.progress.step

        def forward() -> None:
            self._seed_torch()
            with self.fabric.autocast():
                self._plain(shard.images, shard.positions, step)

        where = first_not_finite(self.net, forward)
        kept = "the last checkpoint is kept" if self._saved_step else "there was no checkpoint yet"
        return (
            f"step {step + 1} (epoch {len(self.progress.rows) + 1}): {where} is not finite; {kept}. "
            "In another folder, a smaller learning rate or a limit on the gradient (clip) may help"
        )
