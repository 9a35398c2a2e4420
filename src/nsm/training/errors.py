"""What training raises besides ValueError for arguments."""

from __future__ import annotations

from pathlib import Path


class RunFolderError(ValueError):
    """A folder that a run cannot be written to or continued in: the message says why."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be continued: the message names the file and what is wrong with it."""


class NotFiniteError(ArithmeticError):
    """Infinity or NaN in a step: the message names the step and the first layer concerned."""


class TrainingInterrupted(KeyboardInterrupt):
    """A signal ended the run between two steps, after a checkpoint was written.

    Attributes:
        folder: the run folder.
        step: steps done.
        signal: number of the signal.
    """

    def __init__(self, folder: Path, step: int, signal: int) -> None:
        super().__init__(
            f"stopped after step {step}; a checkpoint is in {folder}, "
            "repeat with --resume (in Python: resume=True) to continue"
        )
        self.folder, self.step, self.signal = folder, step, signal

    def __reduce__(self) -> tuple[type[TrainingInterrupted], tuple[Path, int, int]]:
        return type(self), (self.folder, self.step, self.signal)  # the message alone would not make it again
