"""What a command asks for its answers: the network of a run, or a program in its place."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nsm.engine import Program
    from nsm.models import Network


def load(run: Path, program: Path | None, classes: int) -> Network | Program:
    """The network of a run folder, or the program in a file.

    Args:
        run: the run folder.
        program: the file; None for the network.
        classes: number of classes of the run's data set.

    Raises:
        ValueError: if the program tells another number of classes apart.
    """
    from nsm import engine, models

    if program is None:
        return models.load(run)
    loaded = engine.Program.load(program)
    if loaded.classes != classes:
        raise ValueError(
            f"{program}: tells {loaded.classes} classes apart, but the run in {run} has {classes}: "
            "it is not a program of this run"
        )
    return loaded
