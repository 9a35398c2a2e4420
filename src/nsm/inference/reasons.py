"""Why sampling of an input ended."""

from __future__ import annotations

from enum import IntEnum


class Reason(IntEnum):
    """Why sampling of an input ended.

    Attributes:
        SAMPLES: it had the number of samples that was asked for.
        EXACT: the network draws nothing; one pass says all.
        SETTLED: its leading class is settled at the confidence asked for.
        LIMIT: it had ``max_samples`` samples, and they do not settle it.
        DEADLINE: time was up, and it was not settled.
        RUNNING: it is not settled yet, and more samples will come.
        FUTILE: ``max_samples`` would hardly settle it, and it is given up; nothing is promised, as for LIMIT.
    """

    SAMPLES = 0
    EXACT = 1
    SETTLED = 2
    LIMIT = 3
    DEADLINE = 4
    RUNNING = 5
    FUTILE = 6


UNSETTLED = (Reason.LIMIT, Reason.FUTILE)  # sampling ended, and no class is settled
