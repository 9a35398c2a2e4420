"""How much memory a process has held."""

from __future__ import annotations

from pathlib import Path


def peak_mib() -> float | None:
    """The most that this process has held so far, in MiB; None elsewhere than on Linux."""
    # Not getrusage: its peak is inherited from the process that started this one.
    return _status("VmHWM:")


def resident_mib() -> float | None:
    """What this process holds now, in MiB; None elsewhere than on Linux."""
    return _status("VmRSS:")


def forget_peak() -> bool:
    """Begin :func:`peak_mib` anew with what is held now; whether that is possible here."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _status(key: str) -> float | None:
    try:
        status = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    found = next(line for line in status if line.startswith(key))
    return int(found.split()[1]) / 1024
