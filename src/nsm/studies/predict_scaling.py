"""How fast a compiled network samples as batch, samples, width and threads grow, and with what memory."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from typing import Any

import torch

from nsm.studies.memory import forget_peak, peak_mib, resident_mib
from nsm.studies.predict_speed import OURS, Case, Shape, case, measured, rounds
from nsm.studies.timing import counted, row

RIVALS = ("torch, dropout", "onnxruntime int8, first layer once")
_NETWORK = "mlp-fresh"  # learning would leave memory behind, which a call takes without a trace
_LARGE = 256  # inputs of a call
_SAMPLES = 100
_INPUTS, _CLASSES = 784, 10
BATCHES = (1, 4, 16, 64, _LARGE)
SAMPLES = (25, _SAMPLES, 400)
WIDTHS = (128, 256, 512, 1024, 2048)
MEMORY = (_SAMPLES, 10_000)  # samples of each input


def rows(repeats: int = 7, progress: Callable[[int, int], object] | None = None) -> list[dict[str, Any]]:
    """Samples per second of 784-300-300-300-10 with fresh weights over batches, samples and threads, and of
    other widths, beside two rivals.

    Args:
        repeats: measurements of each side, >= 1.
        progress: called with the number of rounds of measurements done and of all.

    Returns:
        Rows as :func:`nsm.studies.predict_speed.measured` gives them, named by what is changed (``sweep``)
        and its value, each with its rate over that of the sweep's ``reference``: 1 where time is linear in
        samples or batch. On Linux also the memory that a call takes on top, in MiB, for some samples and for
        a hundred times as many.
    """
    found = []
    sweeps = _sweeps()
    after_round = counted(progress, len(sweeps) * rounds(repeats))
    for sweep, (values, reference, made) in sweeps.items():
        swept = measured([made(value) for value in values], repeats, after_round)
        rates = {value: entry["ours"] for value, entry in zip(values, swept, strict=True)}
        for value, entry in zip(values, swept, strict=True):
            entry |= {"name": f"{sweep}-{value}", "sweep": sweep, "value": value}
            if reference is not None:
                compared = rates[value] / rates[reference]
                entry |= {"reference": f"{sweep}-{reference}", "of_reference": compared}
            found.append(entry)
    return found + _memory_rows()


_Sweep = tuple[tuple[int, ...], int | None, Callable[[int], Case]]


def _sweeps() -> dict[str, _Sweep]:
    """What is changed: its values, the one that others are compared with, and the case of a value."""

    def mlp(batch: int = _LARGE, samples: int = _SAMPLES, threads: int = 1) -> Case:
        return case(_NETWORK, batch, samples=samples, threads=threads, rivals=RIVALS)

    def wide(width: int) -> Case:
        widths = (_INPUTS, width, width, width, _CLASSES)
        return case(f"mlp{width}", _LARGE, shape=Shape(widths, fresh=True), samples=_SAMPLES, rivals=RIVALS)

    threads = (1, 2) if (os.cpu_count() or 1) > 1 else (1,)
    return {
        "batch": (BATCHES, _LARGE, lambda value: mlp(batch=value)),
        "samples": (SAMPLES, _SAMPLES, lambda value: mlp(samples=value)),
        "width": (WIDTHS, None, wide),
        "threads": (threads, 1, lambda value: mlp(threads=value)),
    }


def _memory_rows() -> list[dict[str, Any]]:
    """What one call adds to the memory of a process of its own."""
    few, many = (_in_a_process(samples) for samples in MEMORY)
    if not few or many is None:  # a call may fit into what the process has already
        return []
    compared = row(f"memory-samples-{MEMORY[1]}", f"{OURS}, {MEMORY[0]} samples", (many, few), unit="MiB")
    return [compared | {"network": _NETWORK, "batch": _LARGE, "samples": MEMORY[1], "threads": 1}]


def _in_a_process(samples: int) -> float | None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_added_memory, (samples,))


def _added_memory(samples: int) -> float | None:
    torch.set_num_threads(1)
    asked = case(_NETWORK, _LARGE, samples=samples, rivals=())
    if not forget_peak():
        return None
    before = resident_mib()
    asked.call(OURS)()
    peak = peak_mib()
    return None if peak is None or before is None else peak - before
