"""The newest of several questions of one reader."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import gradio as gr

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


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


def ending_silently(ask: Callable[Given, Iterator[Answer]]) -> Callable[Given, Iterator[Answer | Any]]:
    """``ask`` with a last word that changes nothing on the page.

    When a question ends, gradio sends its last word once more, by then over the answer to a newer one.
    """

    @wraps(ask)
    def asked(*given: Given.args, **named: Given.kwargs) -> Iterator[Answer | Any]:
        yield from ask(*given, **named)
        yield gr.skip()

    return asked
