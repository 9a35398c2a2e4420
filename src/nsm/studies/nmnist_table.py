"""The table of the study of N-MNIST, from its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

from nsm.studies import nmnist
from nsm.studies.results import Row


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Rows by seed, regime, kind and fold, whichever finished first."""
    regimes, kinds = list(nmnist.REGIMES), list(nmnist.KINDS)

    def place(row: Row) -> tuple[int, ...]:
        fold = -1 if row["fold"] is None else row["fold"]
        return row["seed"], regimes.index(row["regime"]), kinds.index(row["model"]), fold

    return sorted(rows, key=place)


def table(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """For each regime and kind: epochs, recordings learnt, and errors in percent, mean over seeds.

    ``recorded`` is the error on the real training recordings, each judged by a network that has not learnt it
    (nor, in its simulated form, its image); ``test`` that of the network that learnt all of them, on the real
    test recordings; ``simulated`` that on the simulated ones, and ``peak_mib`` the most memory of a
    process that learnt these. None where it was not measured.
    """
    order = {(regime, kind): i for i, (regime, kind) in enumerate(product(nmnist.REGIMES, nmnist.KINDS))}
    groups: dict[tuple[nmnist.Regime, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["regime"], row["model"]), []).append(row)
    return [_summary(*key, groups[key]) for key in sorted(groups, key=lambda key: order[key])]


def _summary(regime: nmnist.Regime, kind: str, rows: Sequence[Row]) -> dict[str, Any]:
    whole = [row for row in rows if row["fold"] is None]
    folds = [row for row in rows if row["fold"] is not None]
    first = (whole or folds)[0]
    if regime == "simulated":
        recorded = [(row["recorded_error_percent"], row["recorded_n"]) for row in whole]
    else:
        recorded = [(row["error_percent"], row["n"]) for row in folds]
    tested = [(row["error_percent"], row["n"]) for row in whole]
    return {
        "regime": regime,
        "model": kind,
        "title": nmnist.KINDS[kind][0],
        "learnt": first["learnt"],
        "epochs": first["epochs"],
        "seeds": len({row["seed"] for row in rows}),
        "recorded": _pooled(recorded),
        "test": None if regime == "simulated" else _pooled(tested),
        "simulated": _pooled(tested) if regime == "simulated" else None,
        "peak_mib": max((row["peak_mib"] for row in whole if row.get("peak_mib")), default=None),
    }


def _pooled(scores: Sequence[tuple[float, int]]) -> float | None:
    """Error of parts together, from (error, number) of each."""
    return sum(error * n for error, n in scores) / sum(n for _, n in scores) if scores else None


HEADINGS = (
    "learnt", "network", "recordings", "epochs",
    "real held out, %", "real test, %", "simulated test, %", "peak, MiB",
)  # fmt: skip
NOTES = (
    (
        "Simulated recordings are those of MNIST's training images but those whose real recordings are "
        "at hand: every network is judged on recordings of images that it has not learnt, in no form."
    ),
    (
        "Real held out: all real training recordings, each left out in turn with others (cross-validation); "
        "for networks of simulated recordings, all at once. Real test: recordings of the test set, read once "
        "by the network that learnt all real training recordings. Simulated test: recordings simulated from "
        "MNIST's test images. Peak: most memory of the process that learnt and scored. A Neural Sampling "
        "Machine is asked 100 times, or 20 times where networks of simulated recordings are scored."
    ),
)


def cells(rows: Iterable[Row]) -> list[list[str]]:
    """The table under :data:`HEADINGS`."""
    return [
        [
            nmnist.REGIMES[row["regime"]],
            row["title"],
            f"{row['learnt']:,}",
            str(row["epochs"]),
            *("" if row[key] is None else f"{row[key]:.2f}" for key in ("recorded", "test", "simulated")),
            "" if row["peak_mib"] is None else f"{row['peak_mib']:,.0f}",
        ]
        for row in table(rows)
    ]
