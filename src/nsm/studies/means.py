"""Means over the seeds of a study, for its tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import mean

from nsm.studies.results import Row


def grouped(rows: Sequence[Row], *by: str) -> Iterator[tuple[tuple[str, ...], list[Row]]]:
    """Rows that agree in these keys, with what they agree in, in the order of their first rows."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(str(row[key]) for key in by), []).append(row)
    yield from groups.items()


def shown(rows: Sequence[Row], key: str, digits: int) -> str:
    """The mean of a key over rows, empty where a row does not have it."""
    return f"{mean(row[key] for row in rows):.{digits}f}" if all(key in row for row in rows) else ""
