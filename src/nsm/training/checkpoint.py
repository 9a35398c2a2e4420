"""One file that holds everything a run needs to continue: ``checkpoint.safetensors``.

Weights, averaged weights and the optimizer's state are tensors of the file; step, sums of the current epoch,
rows of the metrics, configuration and versions are JSON in its metadata. Nothing is pickled. The file is
written under a temporary name, flushed to disk and renamed: a reader meets the old one or the new one.
"""

from __future__ import annotations

import json
import math
import platform
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from nsm.files import write_atomically
from nsm.training.config import Config, differences
from nsm.training.errors import CheckpointError
from nsm.training.metrics import EpochMetrics

CHECKPOINT_FILE = "checkpoint.safetensors"
_FORMAT = "nsm-checkpoint-1"
_METADATA_LIMIT = 64 * 2**20


@dataclass
class Progress:
    """Where a run stands between two steps.

    Attributes:
        step: steps done.
        loss: sum of the losses of the current epoch's examples so far.
        errors: number of them that were wrong.
        seconds: wall time spent in the current epoch.
        rows: metrics of the epochs that are over.
    """

    step: int = 0
    loss: float = 0.0
    errors: int = 0
    seconds: float = 0.0
    rows: list[EpochMetrics] = field(default_factory=list)


def versions() -> dict[str, str]:
    """Versions on which the bits of a run may depend."""
    return {"python": platform.python_version(), "torch": str(torch.__version__)}


def save_checkpoint(path: Path, tensors: Mapping[str, Tensor], progress: Progress, config: Config) -> None:
    """Write the checkpoint, atomically."""
    state = {"progress": asdict(progress), "config": config.to_dict(), "versions": versions()}
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    metadata = {"format": _FORMAT, "state": json.dumps(state)}
    write_atomically(path, safetensors.torch.save(contiguous, metadata))


def load_checkpoint(path: Path, tensors: Mapping[str, Tensor], config: Config) -> Progress:
    """Read a checkpoint into ``tensors``, in place. Nothing is changed unless everything fits.

    Warns:
        UserWarning: if it was written under other versions, which may change the bits of what follows.

    Raises:
        CheckpointError: if the file is damaged, too large, of another format, or belongs to another
            configuration or network.
    """
    limit = sum(tensor.nbytes for tensor in tensors.values()) + _METADATA_LIMIT
    try:
        if path.stat().st_size > limit:
            raise CheckpointError(f"{path}: larger than {limit} bytes, all that this run can need")
        # safetensors calls every file that the system refuses missing.
        with path.open("rb"), safetensors.safe_open(path, framework="pt") as file:
            progress = _read_state(path, file.metadata(), config)
            _check_names(path, set(file.keys()), set(tensors))
            loaded = {name: file.get_tensor(name) for name in tensors}
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"{path}: not a valid safetensors file ({error})") from error
    for name, tensor in tensors.items():
        _check_tensor(path, name, loaded[name], tensor)
    with torch.no_grad():
        for name, tensor in tensors.items():
            tensor.copy_(loaded[name])
    return progress


def _read_state(path: Path, metadata: Mapping[str, str] | None, config: Config) -> Progress:
    if not metadata or metadata.get("format") != _FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of format {_FORMAT}")
    try:
        state = json.loads(metadata["state"])
        progress = _read_progress(state["progress"])
        written, known = state["config"], state["versions"]
        changed = differences(Config.from_dict(written), config)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{path}: its state cannot be read ({error!r:.200})") from error
    if changed:
        raise CheckpointError(f"{path}: belongs to another configuration: {'; '.join(changed)}")
    if known != versions():
        warnings.warn(
            f"{path} was written with {known}, this is {versions()}: "
            "the continued run may differ in its last bits from one that was never stopped",
            stacklevel=3,
        )
    return progress


def _read_progress(state: dict[str, Any]) -> Progress:
    rows = [_read_row(epoch, row) for epoch, row in enumerate(state["rows"], 1)]
    step, errors = (_number(state, name, int) for name in ("step", "errors"))
    loss, seconds = (_number(state, name, int, float) for name in ("loss", "seconds"))
    if step < 1:
        raise ValueError(f"step must be at least 1, got {step}")
    return Progress(step, float(loss), errors, float(seconds), rows)


def _read_row(epoch: int, cells: Sequence[Any]) -> EpochMetrics:
    row = EpochMetrics(*cells)._asdict()
    if row["epoch"] != epoch:
        raise ValueError(f"row {epoch} is of epoch {row['epoch']!r:.80}")
    for name in ("epoch", "step"):
        _number(row, name, int)
    for name in ("train_loss", "train_error_percent", "learning_rate", "seconds"):
        _number(row, name, int, float)
    for name in ("validation_error_percent", "validation_nll"):
        # A likelihood may be infinitely small.
        if row[name] is not None and row[name] != math.inf:
            _number(row, name, int, float)
    return EpochMetrics(**row)


def _number(values: Mapping[str, Any], name: str, *kinds: type) -> Any:
    if type(values[name]) not in kinds or not math.isfinite(values[name]):
        raise ValueError(f"{name} must be a finite number, got {values[name]!r:.80}")
    return values[name]


def _check_names(path: Path, found: set[str], expected: set[str]) -> None:
    if found != expected:
        raise CheckpointError(
            f"{path}: does not fit the run; missing {sorted(expected - found)[:5]}, "
            f"not expected {sorted(found - expected)[:5]}"
        )


def _check_tensor(path: Path, name: str, found: Tensor, expected: Tensor) -> None:
    for what in ("shape", "dtype"):
        if getattr(found, what) != getattr(expected, what):
            raise CheckpointError(
                f"{path}: {name} has {what} {getattr(found, what)}, the run needs {getattr(expected, what)}"
            )
    if found.is_floating_point() and not found.isfinite().all():
        raise CheckpointError(f"{path}: {name} holds values that are not finite")
