"""The progress bar of a run, and its TensorBoard log."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from nsm.training.metrics import EpochMetrics

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_INTERVAL = 0.5  # seconds between two drawings: what a bar costs must not be seen in the run's time


class Display:
    """A bar with epoch, error, loss and time left, on a terminal; nothing elsewhere or when quiet.

    Args:
        total: steps of the run.
        done: steps done before.
        epochs: epochs of the run.
        quiet: show nothing.
    """

    def __init__(self, total: int, done: int, epochs: int, *, quiet: bool) -> None:
        console = Console(stderr=True)
        self._bar: Progress | None = None
        self._epochs, self._next = epochs, 0.0
        if not quiet and console.is_terminal:
            columns = (BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
            text = TextColumn("{task.description}")
            self._bar = Progress(text, *columns, console=console, auto_refresh=False)
            self._task = self._bar.add_task("starting", total=total, completed=done)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, step: int, epoch: int, loss: float, error_percent: float) -> None:
        """Show where the run is: steps done, epoch from 0, mean loss and error of the epoch so far."""
        if self._bar is None or time.monotonic() < self._next:
            return
        text = f"epoch {epoch + 1}/{self._epochs}  error {error_percent:.2f} %  loss {loss:.4f}"
        self._bar.update(self._task, completed=step, description=text, refresh=True)
        self._next = time.monotonic() + _INTERVAL

    def epoch(self, row: EpochMetrics) -> None:
        """Leave a line about an epoch that is over."""
        if self._bar is None:
            return
        parts = [f"epoch {row.epoch}/{self._epochs}", f"train error {row.train_error_percent:.2f} %"]
        if row.validation_error_percent is not None:
            parts.append(f"validation error {row.validation_error_percent:.2f} %")
        self._bar.console.print("  ".join(parts), highlight=False)


def check_tensorboard() -> None:
    """Refuse to log where nothing can.

    Raises:
        ModuleNotFoundError: if TensorBoard is not installed.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "TensorBoard logs need the extra: pip install 'neural-sampling-machines[tensorboard]'"
        ) from error


def tensorboard_writer(folder: Path, epochs_done: int) -> SummaryWriter:
    """A writer of TensorBoard logs in ``folder``; what was logged after ``epochs_done`` epochs is dropped."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"), purge_step=epochs_done + 1)


def log_epoch(writer: SummaryWriter, row: EpochMetrics) -> None:
    """Log every number of one epoch against its number."""
    for name, value in row._asdict().items():
        if name not in ("epoch", "step") and value is not None:
            writer.add_scalar(name, value, row.epoch)
