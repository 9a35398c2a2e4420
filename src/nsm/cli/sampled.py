"""What a command asks for its answers, the network of a run or a program in its place, and what it says of
them.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from nsm.engine import Program
    from nsm.models import Network
    from nsm.nn.context import Fidelity


def at(fidelity: Fidelity | None, program: Path | None) -> AbstractContextManager[None]:
    """A block in which a run's network is asked at this fidelity; None for its layers' own.

    Raises:
        ValueError: if there is a program, whose fidelity was chosen when it was compiled.
    """
    import nsm

    if fidelity is None:
        return nullcontext()
    if program is not None:
        raise ValueError(f"fidelity must not be given with a program, which has its own, got {fidelity!r}")
    return nsm.fidelity(fidelity)


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


def check_finite(probabilities: Tensor, what: str) -> None:
    """Refuse an answer that is none.

    Raises:
        ValueError: if a probability is NaN; the message begins with ``what``.
    """
    if not probabilities.isfinite().all():
        raise ValueError(f"{what}: gives outputs that are not finite")


def used(row: Mapping[str, object]) -> str:
    """The number of samples of an answer; with a plus where more would be needed for the confidence."""
    return f"{row['samples']}+" if row["reason"] in ("limit", "futile") else f"{row['samples']}"
