"""The newest of several questions of one reader."""

from __future__ import annotations


class Latest:
    """Gives questions tickets, so that an older one notices that it need not be answered any more."""

    def __init__(self) -> None:
        self._ticket = object()

    def take(self) -> object:
        """The ticket of a new question."""
        # Whatever other threads take meanwhile, each has its own.
        ticket = self._ticket = object()
        return ticket

    def is_(self, ticket: object) -> bool:
        """Whether no newer question was asked."""
        return ticket is self._ticket
