"""What noise costs in training: steps of an NSM beside its twin's.

Both sides of a ratio are measured in one process, in turn, several times; the ratio is that of the medians.
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nsm import data, models
from nsm.models import Model
from nsm.studies import mnist
from nsm.studies.memory import peak_mib
from nsm.studies.timing import in_turn, row
from nsm.training import Config, fresh_network, with_overrides
from nsm.training.denormals import flushed_denormals
from nsm.training.memory import keep_freed_memory
from nsm.training.processes import launch
from nsm.training.run import Run
from nsm.training.signals import StopRequest

_MEMORY_STEPS = 5
_IMAGES = 60_000


def train_rows(
    network: str = "mnist-cnn", *, repeats: int = 7, steps: int = 30, root: Path | None = None
) -> list[dict[str, Any]]:
    """Time of an epoch and peak memory of a training process, NSM over its twin.

    Args:
        network: of :data:`nsm.studies.mnist.NETWORKS`.
        repeats: measurements of each side, >= 1.
        steps: training steps in each measurement, >= 1; the loop's own steps, with everything they do.
        root: data folder, see :func:`nsm.data.load`.

    Returns:
        Rows for an epoch in seconds and, on Linux, memory in MiB. The time's rival is the faster of the twin
        as it is and as compiled by ``torch.compile``.
    """
    with tempfile.TemporaryDirectory() as folder, flushed_denormals():
        sides = [_stepper(_config(network, model), Path(folder) / model, steps, root) for model in _SIDES]
        compiled = _stepper(_config(network, "twin"), Path(folder) / "compiled", steps, root, compiled=True)
        seconds = in_turn([*sides, compiled], repeats)
    batch = _config(network, "nsm").training.batch_size
    epochs = [value * _IMAGES / (batch * steps) for value in seconds]
    described: dict[str, Any] = {"network": network, "batch": batch, "repeats": repeats}
    rows = [_training_row(f"{network}-epoch", epochs, unit="s", **described)]
    if sys.platform == "linux":
        peaks = [_peak_memory(network, model, root) for model in _SIDES]
        rows.append(row(f"{network}-memory", "twin", peaks, unit="MiB", **described))
    return rows


_SIDES: tuple[Model, ...] = ("nsm", "twin")
_RIVALS = ("twin", "twin, torch.compile")


def _training_row(name: str, values: Sequence[float], **described: Any) -> dict[str, Any]:
    """Ours beside the faster one of the rivals."""
    ours, *theirs = values
    rival = min(range(len(theirs)), key=theirs.__getitem__)
    everything = dict(zip(("nsm", *_RIVALS), values, strict=True))
    return row(name, _RIVALS[rival], (ours, theirs[rival]), all=everything, **described)


def allconv_rows(*, batch: int = 100, repeats: int = 7) -> list[dict[str, Any]]:
    """Seconds of a training step of the published network for CIFAR-10 (96 and 192 channels) over those of
    its twin with batch normalization, in float32 and in bfloat16, on random images.

    Args:
        batch: images of a step.
        repeats: measurements of each side, >= 1; each is one step.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(batch, 3, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)
    y = torch.randint(10, (batch,), generator=generator)
    rows = []
    for title, precision in (("fp32", None), ("bf16", torch.bfloat16)):
        with flushed_denormals():
            sides = [_allconv(model, x, y, precision, compiled=compiled) for model, compiled in _ALLCONV]
            seconds = in_turn(sides, repeats)
        described: dict[str, Any] = {"network": "cifar10-allconv", "batch": batch, "repeats": repeats}
        rows.append(_training_row(f"allconv-{title}-{batch}", seconds, unit="s", **described))
    return rows


_ALLCONV: tuple[tuple[Model, bool], ...] = (("nsm", False), ("twin-bn", False), ("twin-bn", True))


def _allconv(
    model: Model, x: Tensor, y: Tensor, precision: torch.dtype | None, *, compiled: bool
) -> Callable[[], None]:
    net = models.build("cifar10-allconv", model=model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    forward = torch.compile(net) if compiled else net

    def step() -> None:
        with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
            loss = torch.nn.functional.cross_entropy(forward(x).float(), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _config(network: str, model: Model) -> Config:
    kind = "bnsm" if model == "nsm" else model
    return with_overrides(
        mnist.configuration(network, kind, seed=0), ["checkpoint_minutes=none", "epochs=1000"]
    )


def _stepper(
    config: Config, folder: Path, steps: int, root: Path | None, *, compiled: bool = False
) -> Callable[[], None]:
    splits = data.load(config.data.set, root, validation=config.data.validation)
    net = fresh_network(config, splits.train)
    if compiled:
        net.compile()
    run = Run(launch(config.training.precision), config, net, splits, folder)
    shards, request = run.shards(), StopRequest()

    def measure() -> None:
        nonlocal shards
        done = 0
        while done < steps:
            for shard in islice(shards, steps - done):
                run.step(shard, request)
                done += 1
            if done < steps:
                run.end_epoch()
                shards = run.shards()

    return measure


def _peak_memory(network: str, model: Model, root: Path | None) -> float:
    """MiB at the peak of a process of its own that trains for some steps (Linux)."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_of_steps, (network, model, root, torch.get_num_threads()))


def _peak_of_steps(network: str, model: Model, root: Path | None, threads: int) -> float:
    keep_freed_memory()  # as nsm train does
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        _stepper(_config(network, model), Path(folder), _MEMORY_STEPS, root)()
    peak = peak_mib()
    assert peak is not None, "Linux tells"
    return peak
