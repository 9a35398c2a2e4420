"""Ctrl-C and termination as a request that is met between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_asked: set[StopRequest] = set()


class StopRequest:
    """Set once a signal asks the run to end.

    Attributes:
        signal: its number, 0 while there is none.
    """

    def __init__(self) -> None:
        self.signal = 0


@contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Turn the first SIGINT or SIGTERM inside the block into a request; a second one acts as ever.

    Outside the main thread, where Python does not deliver signals, nothing is changed.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    # None stands for a handler that was not set from Python and cannot be set again from here.
    previous = {number: signal.getsignal(number) or signal.SIG_DFL for number in _SIGNALS}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def handle(number: int, _frame: FrameType | None) -> None:
        request.signal = number
        _asked.add(request)
        restore()

    for number in _SIGNALS:
        signal.signal(number, handle)
    try:
        yield request
    finally:
        _asked.discard(request)
        restore()


def stopping() -> bool:
    """Whether a run of this process is asked to end and has not ended yet."""
    return bool(_asked)
