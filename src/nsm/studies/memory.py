"""How much memory a process has held."""

from __future__ import annotations

from pathlib import Path


def peak_mib() -> float | None:
    """The most that this process has held so far, in MiB; None elsewhere than on Linux."""
    # Not getrusage: its peak is inherited from the process that started this one.
    try:
        status = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    peak = next(line for line in status if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024
