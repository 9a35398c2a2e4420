"""Result files: what was measured, by which command, on which machine, with which versions, from which
commit.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from nsm.files import write_atomically
from nsm.provenance import commit, machine, versions

Row = Mapping[str, Any]

# They choose kernels, threads and memory, on which a measured speed depends as on the command.
_VARIABLES = ("NSM_KERNELS", "OMP_NUM_THREADS")
_PREFIX = "MALLOC_"


def command() -> str:
    """The command line of this process as a user would type it, variables that change its speed included."""
    module = getattr(sys.modules["__main__"], "__spec__", None)
    started = ["python", "-m", module.name.removesuffix(".__main__")] if module else [Path(sys.argv[0]).name]
    # Of an assignment, the shell wants the value quoted alone.
    variables = [
        f"{name}={shlex.quote(value)}"
        for name, value in sorted(os.environ.items())
        if name in _VARIABLES or name.startswith(_PREFIX)
    ]
    return " ".join([*variables, shlex.join([*started, *sys.argv[1:]])])


def write(path: Path, study: str, rows: Sequence[Row]) -> None:
    """Write one result file, by a temporary name and a rename.

    Args:
        path: the file, usually ``results/<study>.json``.
        study: name of the study.
        rows: flat rows, one for each measured thing.
    """
    content = {
        "study": study,
        "command": command(),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "rows": list(rows),
    }
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """The content of a file that a study has written.

    Raises:
        ValueError: if it is no JSON object; the message names the file.
    """
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON ({error}); remove it to make it anew") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: holds no JSON object; remove it to make it anew")
    return content


def summarize(rows: Iterable[Row], by: Sequence[str], value: str) -> list[dict[str, Any]]:
    """Mean, spread (standard deviation over rows, 0 for one) and count of ``value`` for each combination of
    ``by``.

    >>> summarize([{"m": "a", "e": 1.0}, {"m": "a", "e": 3.0}], ["m"], "e")
    [{'m': 'a', 'mean': 2.0, 'spread': 1.4142135623730951, 'count': 2}]
    """
    groups: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in by), []).append(float(row[value]))
    return [
        {
            **dict(zip(by, key, strict=True)),
            "mean": mean(values),
            "spread": stdev(values) if len(values) > 1 else 0.0,
            "count": len(values),
        }
        for key, values in groups.items()
    ]
