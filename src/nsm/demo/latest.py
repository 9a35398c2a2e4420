"""The newest of several questions of one reader."""

from __future__ import annotations


class Latest:
    """Numbers questions, so that an older one notices that it need not be answered any more."""

    def __init__(self) -> None:
        self._number = 0

    def take(self) -> int:
        """The number of a new question."""
        self._number += 1
        return self._number

    def is_(self, number: int) -> bool:
        """Whether no newer question was asked."""
        return number == self._number
