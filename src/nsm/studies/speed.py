"""What noise costs: training steps of an NSM beside its twin's, and sampling beside a loop of passes.

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

from nsm import data, models, nn, predict
from nsm.models import Model
from nsm.studies import mnist
from nsm.studies.timing import in_turn, row
from nsm.training import Config, fresh_network, with_overrides
from nsm.training.denormals import flushed_denormals
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
        Rows for an epoch in seconds and, on Linux, memory in MiB.
    """
    with tempfile.TemporaryDirectory() as folder, flushed_denormals():
        sides = [_stepper(_config(network, model), Path(folder) / model, steps, root) for model in _SIDES]
        seconds = in_turn(sides, repeats)
    batch = _config(network, "nsm").training.batch_size
    epochs = [value * _IMAGES / (batch * steps) for value in seconds]
    described: dict[str, Any] = {"network": network, "batch": batch, "repeats": repeats}
    rows = [row(f"{network}-epoch", "twin", epochs, unit="s", **described)]
    if sys.platform == "linux":
        peaks = [_peak_memory(network, model, root) for model in _SIDES]
        rows.append(row(f"{network}-memory", "twin", peaks, unit="MiB", **described))
    return rows


_SIDES: tuple[Model, ...] = ("nsm", "twin")


def predict_rows(
    networks: Sequence[str] = ("mnist-cnn", "mnist-mlp"), *, repeats: int = 7, samples: int = 100
) -> list[dict[str, Any]]:
    """Samples per second of :func:`nsm.predict` over those of a loop of whole forward passes.

    Args:
        networks: names of networks, with fresh weights; inputs are uniform noise.
        repeats: measurements of each side, >= 1.
        samples: Monte Carlo samples of each input.
    """
    rows = []
    for network in networks:
        net = models.build(network, binarize=True).eval()
        for batch in (1, 256):
            x = torch.rand(batch, *net.image, generator=torch.Generator().manual_seed(0))

            def ours(net: models.Network = net, x: Tensor = x) -> None:
                predict(net, x, samples=samples, seed=0)

            def loop(net: models.Network = net, x: Tensor = x) -> None:
                inputs = torch.arange(len(x))
                with torch.no_grad():
                    total = torch.zeros(())
                    for sample in range(samples):
                        with nn.draws(net, seed=0, samples=sample, inputs=inputs):
                            total = total + net(x).softmax(-1)

            seconds = in_turn((ours, loop), repeats)
            rates = [batch * samples / value for value in seconds]
            described: dict[str, Any] = {"network": network, "batch": batch, "repeats": repeats}
            name, rival = f"{network}-{batch}", "loop over forward passes"
            rows.append(row(name, rival, rates, samples=samples, unit="samples/s", **described))
    return rows


def _config(network: str, model: Model) -> Config:
    kind = "bnsm" if model == "nsm" else model
    return with_overrides(
        mnist.configuration(network, kind, seed=0), ["checkpoint_minutes=none", "epochs=1000"]
    )


def _stepper(config: Config, folder: Path, steps: int, root: Path | None) -> Callable[[], None]:
    splits = data.load(config.data.set, root, validation=config.data.validation)
    net = fresh_network(config, splits.train)
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
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory() as folder:
        _stepper(_config(network, model), Path(folder), _MEMORY_STEPS, root)()
    # Not getrusage: its peak is inherited from the process that started this one.
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(line for line in status if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024
