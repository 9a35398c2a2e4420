"""What all modules that draw random numbers share: a number in their network's random streams."""

from __future__ import annotations

from torch import nn


class Drawing(nn.Module):
    """A module that takes the coordinates of its draws from :func:`nsm.nn.context.next_draw`.

    Where a pass asks for k samples of each input, and so far there is one row for an input, such a module
    returns k.

    Attributes:
        index: number of the module among those of its network that draw.
        most_samples: of each input, where there are no more; None for any number.
    """

    most_samples: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.index = 0

    def is_drawing(self) -> bool:
        """Whether a pass draws anything here, at the fidelity in force."""
        return True
