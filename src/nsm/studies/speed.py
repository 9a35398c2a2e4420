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

from nsm import data, models, provenance
from nsm.models import Model
from nsm.studies import mnist
from nsm.studies.memory import peak_mib
from nsm.studies.timing import counted, in_turn, row
from nsm.training import Config, fresh_network, with_overrides
from nsm.training.denormals import flushed_denormals
from nsm.training.memory import keep_freed_memory
from nsm.training.processes import launch
from nsm.training.run import Run
from nsm.training.signals import StopRequest

_MEMORY_STEPS = 5
_IMAGES = 60_000
_BATCH = 100  # as the recipe of the all-convolutional network has it


Progress = Callable[[int, int], object]
ALLCONV = "allconv"


def rows(
    networks: Sequence[str] = ("mnist-cnn",),
    *,
    repeats: int = 7,
    steps: int = 30,
    root: Path | None = None,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Training of networks, NSM over twin: :func:`train_rows`, or for ``"allconv"`` :func:`allconv_rows`.

    Args:
        networks: of :data:`nsm.studies.mnist.NETWORKS`, or ``"allconv"``.
        repeats: measurements of each side, >= 1.
        steps: see :func:`train_rows`.
        root: data folder, see :func:`nsm.data.load`.
        progress: called with the rounds of measurements that are done, and all.

    Raises:
        ValueError: if a network is unknown.
    """
    known = (*mnist.NETWORKS, ALLCONV)
    for network in networks:
        if network not in known:
            raise ValueError(f"network must be one of {', '.join(known)}, got {network!r}")
    turns = sum(len(precisions()) if network == ALLCONV else 1 for network in networks)
    after_round = counted(progress, turns * (repeats + 1))
    found = []
    for network in networks:
        if network == ALLCONV:
            found += allconv_rows(repeats=repeats, after_round=after_round)
        else:
            found += train_rows(network, repeats=repeats, steps=steps, root=root, after_round=after_round)
    return found


def train_rows(
    network: str = "mnist-cnn",
    *,
    repeats: int = 7,
    steps: int = 30,
    root: Path | None = None,
    after_round: Callable[[], object] | None = None,
) -> list[dict[str, Any]]:
    """Time of an epoch and peak memory of a training process, NSM over its twin.

    Args:
        network: of :data:`nsm.studies.mnist.NETWORKS`.
        repeats: measurements of each side, >= 1.
        steps: training steps in each measurement, >= 1; the loop's own steps, with everything they do.
        root: data folder, see :func:`nsm.data.load`.
        after_round: called behind each round of measurements.

    Returns:
        Rows for an epoch in seconds and, on Linux, memory in MiB. Time is that of the faster way of each:
        the network as it is, or as compiled by ``torch.compile``.
    """
    with tempfile.TemporaryDirectory() as folder, flushed_denormals():
        sides = [
            _stepper(_config(network, model), Path(folder) / (model + way), steps, root, compiled=compiled)
            for model in _SIDES
            for way, compiled in _WAYS.items()
        ]
        seconds = in_turn(sides, repeats, after_round)
    batch = _config(network, "nsm").training.batch_size
    epochs = [value * _IMAGES / (batch * steps) for value in seconds]
    described: dict[str, Any] = {"network": network, "batch": batch, "repeats": repeats}
    found = [_training_row(f"{network}-epoch", epochs, unit="s", **described)]
    if sys.platform == "linux":
        peaks = [_peak_memory(network, model, root) for model in _SIDES]
        found.append(row(f"{network}-memory", "twin", peaks, unit="MiB", ours_is="nsm", **described))
    return found


_SIDES: tuple[Model, ...] = ("nsm", "twin")
_WAYS = {"": False, ", torch.compile": True}


def _training_row(name: str, values: Sequence[float], **described: Any) -> dict[str, Any]:
    """The faster way of ours beside the faster way of the twin's."""
    seconds = dict(zip((side + way for side in _SIDES for way in _WAYS), values, strict=True))
    ours, rival = (min((side + way for way in _WAYS), key=seconds.__getitem__) for side in _SIDES)
    return row(name, rival, (seconds[ours], seconds[rival]), ours_is=ours, all=seconds, **described)


def precisions() -> dict[str, torch.dtype | None]:
    """In what the all-convolutional network is timed: float32, and bfloat16 on a processor that multiplies it
    (elsewhere it is converted number by number, and nobody would train in it).
    """
    multiplied = any("bf16" in name for name in provenance.machine()["instruction_sets"])
    return {"fp32": None} | ({"bf16": torch.bfloat16} if multiplied else {})


def allconv_rows(
    *, repeats: int = 7, after_round: Callable[[], object] | None = None
) -> list[dict[str, Any]]:
    """Seconds of a training step of the published network for CIFAR-10 (96 and 192 channels) over those of
    its twin with batch normalization, in :func:`precisions`, on random images.

    Args:
        repeats: measurements of each side, >= 1; each is one step.
        after_round: called behind each round of measurements.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(_BATCH, 3, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)
    y = torch.randint(10, (_BATCH,), generator=generator)
    found = []
    for title, precision in precisions().items():
        with flushed_denormals():
            sides = [
                _allconv(model, x, y, precision, compiled=compiled)
                for model in _ALLCONV
                for compiled in _WAYS.values()
            ]
            seconds = in_turn(sides, repeats, after_round)
        described: dict[str, Any] = {"network": "cifar10-allconv", "batch": _BATCH, "repeats": repeats}
        found.append(_training_row(f"allconv-{title}-{_BATCH}", seconds, unit="s", **described))
    return found


_ALLCONV: tuple[Model, ...] = ("nsm", "twin-bn")


def _allconv(
    model: Model, x: Tensor, y: Tensor, precision: torch.dtype | None, *, compiled: bool
) -> Callable[[], None]:
    net = models.build("cifar10-allconv", model=model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    forward = _compiled(net) if compiled else net

    def step() -> None:
        with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
            loss = torch.nn.functional.cross_entropy(forward(x).float(), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _compiled(net: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """By ``torch.compile``, as a whole: ``net.compile()`` would leave an ``nn.Sequential`` as it is."""
    torch.compiler.reset()  # else another network counts as this one with other shapes
    return torch.compile(net, dynamic=False)


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
        net = _compiled(net)  # type: ignore[assignment]
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
