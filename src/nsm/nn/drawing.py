"""What all modules that draw random numbers share: a number in their network's random streams."""

from __future__ import annotations

import threading

from torch import nn


class Drawing(nn.Module):
    """A module that takes the coordinates of its draws from :func:`nsm.nn.context.next_draw`.

    Where a pass asks for k samples of each input, and so far there is one row for an input, such a module
    returns k.

    Attributes:
        most_samples: of each input, where there are no more; None for any number.
    """

    most_samples: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self._number = _Number()

    @property
    def index(self) -> int:
        """Number of the module among those that draw in the network of this thread's pass."""
        return self._number.value

    @index.setter
    def index(self, number: int) -> None:
        self._number.value = number

    def is_drawing(self) -> bool:
        """Whether a pass draws anything here, at the fidelity in force."""
        return True


class _Number(threading.local):
    """A number for each thread, since networks that share a module may be used at the same time.

    Kept beside the module and not by it in the pass: the compiler would compile each network anew for its
    modules' identity.
    """

    value = 0

    def __reduce__(self) -> tuple[type[_Number], tuple[()]]:
        return _Number, ()
