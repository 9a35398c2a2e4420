"""The training loop, on Lightning Fabric."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from nsm import models
from nsm.data import Splits
from nsm.models import Network
from nsm.nn import Linear
from nsm.nn.imitation import evaluating
from nsm.training import metrics
from nsm.training.config import Config
from nsm.training.denormals import flushed_denormals
from nsm.training.display import Display, check_tensorboard, log_epoch, tensorboard_writer
from nsm.training.errors import RunFolderError, TrainingInterrupted
from nsm.training.folder import claimed, prepare_folder
from nsm.training.fresh import initial_network
from nsm.training.metrics import EpochMetrics
from nsm.training.processes import launch, summed
from nsm.training.run import Run
from nsm.training.signals import StopRequest, stop_request
from nsm.training.splits import load_splits

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch.utils.tensorboard import SummaryWriter


# From run folder, epoch and network to whatever it keeps.
Watch = Callable[[Path, int, Network], object]


class Result(NamedTuple):
    """What a finished run leaves.

    Attributes:
        net: the network with its final (averaged) weights, on the CPU, in evaluation mode.
        metrics: one row for each epoch.
        folder: the run folder.
    """

    net: Network
    metrics: tuple[EpochMetrics, ...]
    folder: Path


def train(
    config: Config,
    folder: str | Path,
    *,
    root: str | Path | None = None,
    resume: bool = False,
    quiet: bool = False,
    tensorboard: bool = False,
    watch: Watch | None = None,
) -> Result:
    """Train a network and leave ``config.json``, ``model.safetensors``, ``metrics.csv`` and
    ``checkpoint.safetensors`` in a run folder.

    The same configuration gives the same weights, however often the run is interrupted and resumed. Under
    ``torchrun`` the processes share each batch; ``batch_size`` is that of all together, and batch
    normalization alone sees only its process's part.

    Args:
        config: the whole description of the run.
        folder: run folder, made if it does not exist.
        root: data folder, see :func:`nsm.data.load`.
        resume: continue the run in ``folder`` from its checkpoint, or from the start where there is none.
        quiet: show no progress bar.
        tensorboard: write a TensorBoard log into ``folder/tensorboard`` as well.
        watch: called after each epoch with the folder, the number of the epoch and the network that would be
            saved, in evaluation mode, which it must leave as it is; by the first process alone. A run that is
            resumed may come to an epoch again.

    Raises:
        RunFolderError: if the folder holds anything and ``resume`` is False, or holds another run, or if a
            run is being trained in it.
        CheckpointError: if the checkpoint cannot be continued.
        NotFiniteError: if infinity or NaN appears; the last checkpoint stays.
        TrainingInterrupted: after SIGINT or SIGTERM; a checkpoint has been written.
        ValueError: if network and data do not fit each other.
        ModuleNotFoundError: if TensorBoard is to log and is not installed.
    """
    folder = Path(folder)
    if tensorboard:
        check_tensorboard()
    with ExitStack() as stack:
        stack.enter_context(flushed_denormals())
        fabric = launch(config.training.precision)
        splits = load_splits(config, root, changed=True)
        _check_fit(splits, config)
        net = initial_network(config, splits.train, folder)
        _check_batches(net, splits, config, fabric.world_size)
        _prepare_together(fabric, folder, config, net, stack, resume=resume)
        devices = [fabric.device] if fabric.device.type == "cuda" else []
        stack.enter_context(torch.random.fork_rng(devices=devices))
        run = Run(fabric, config, net, splits, folder)
        run.restore()
        first = fabric.is_global_zero
        if first:
            metrics.write_metrics(folder, run.progress.rows)
        quiet = quiet or not first
        display = stack.enter_context(
            Display(run.total, run.progress.step, config.training.epochs, quiet=quiet)
        )
        writer = None
        if tensorboard and first:
            writer = tensorboard_writer(folder, len(run.progress.rows))
            stack.callback(writer.close)
        request = stack.enter_context(stop_request())
        _loop(run, display, writer, request, watch)
        final = _finished(run.final_net)
        if first:
            models.save(final, folder)
        return Result(final, tuple(run.progress.rows), folder)


def _loop(
    run: Run, display: Display, writer: SummaryWriter | None, request: StopRequest, watch: Watch | None
) -> None:
    progress, training = run.progress, run.config.training
    while len(progress.rows) < training.epochs:
        if metrics.out_of_patience(progress.rows, training.patience):
            break
        _epoch(run, display, request)
        row = run.end_epoch()
        if run.fabric.is_global_zero:
            metrics.append_metrics(run.folder, row)
            display.epoch(row)
            if writer is not None:
                log_epoch(writer, row)
            if watch is not None:
                with evaluating(run.final_net):
                    watch(run.folder, row.epoch, run.final_net)
    run.save()
    if request.signal:
        raise TrainingInterrupted(run.folder, progress.step, request.signal)


def _epoch(run: Run, display: Display, request: StopRequest) -> None:
    progress, epoch = run.progress, len(run.progress.rows)
    started = time.perf_counter() - progress.seconds
    for shard in run.shards():
        decision = run.step(shard, request)
        progress.seconds = time.perf_counter() - started
        display.update(progress.step, epoch, *run.averages())
        if decision.stop or decision.save:
            run.save()
        if decision.stop:
            raise TrainingInterrupted(run.folder, progress.step, request.signal or signal.SIGTERM)


def _check_batches(net: models.Network, splits: Splits, config: Config, processes: int) -> None:
    """Refuse a last batch from which batch normalization and standardized layers cannot learn, before an
    epoch is spent on it.
    """
    images, size = len(splits.train), config.training.batch_size
    last = images % size or min(images, size)
    if last // processes <= 1 and any(map(_counts_images, net.modules())):
        raise ValueError(
            "training.batch_size must leave at least two images for each process in the last batch, since "
            f"the network normalizes batches: of {images} images, {size} at a time leave {last}"
        )


def _counts_images(module: nn.Module) -> bool:
    """Whether it takes statistics over the images of a batch alone; convolutions have positions, too."""
    return isinstance(module, nn.BatchNorm1d) or (isinstance(module, Linear) and module.standardized)


def _check_fit(splits: Splits, config: Config) -> None:
    images, shape = splits.train, models.ARCHITECTURES[config.network.name]
    if tuple(images.images.shape[1:]) != shape.image or len(images.classes) != shape.classes:
        raise ValueError(
            f"network {config.network.name} takes images of shape {shape.image} in {shape.classes} classes, "
            f"but data set {config.data.set} has {tuple(images.images.shape[1:])} in {len(images.classes)}"
        )
    if len(images) == 0:
        raise ValueError(f"data.validation leaves no training images of {config.data.set}")
    if config.training.patience is not None and len(splits.validation) == 0:
        raise ValueError("training.patience needs validation images, but there are none")


def _prepare_together(
    fabric: Fabric, folder: Path, config: Config, net: Network, stack: ExitStack, *, resume: bool
) -> None:
    """Let the first process claim the folder until ``stack`` ends, and prepare it; none goes on if it
    cannot.
    """
    problem: ValueError | None = None
    if fabric.is_global_zero:
        try:
            stack.enter_context(claimed(folder))
            prepare_folder(folder, config, net, resume=resume)
        except ValueError as error:
            problem = error
    (refused,) = summed(fabric, [problem is not None])
    if refused:
        raise problem or RunFolderError(f"the first process refused the run folder {folder}")


def _finished(net: Network) -> Network:
    net.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return net.cpu().requires_grad_(True).eval()
