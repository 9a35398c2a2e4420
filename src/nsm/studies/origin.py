"""Where the numbers of a page come from."""

from __future__ import annotations

from nsm import provenance
from nsm.report.words import described
from nsm.studies import results


def origin(**more: object) -> list[tuple[str, str]]:
    """Command, whatever ``more`` adds, commit, machine and versions, in words."""
    return described(
        {
            "command": results.command(),
            **more,
            "commit": provenance.commit() or "outside a checkout",
            **provenance.machine(),
            **provenance.versions(),
        }
    )
