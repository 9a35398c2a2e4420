"""What a number depends on: machine, versions and commit."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

_PACKAGES = ("neural-sampling-machines", "torch", "numpy", "lightning-fabric", "torchmetrics", "scikit-learn")
_INSTRUCTION_SETS = {
    *("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "vaes"),
    *("asimddp", "i8mm"),
}


def machine() -> dict[str, Any]:
    """Processor, cores, memory and operating system, as far as the machine tells."""
    return {
        "processor": _of_processor("model name") or platform.processor() or platform.machine(),
        "instruction_sets": _instruction_sets(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _of_processor(key: str) -> str:
    """What Linux says of the first core under a key, nothing where it does not."""
    try:
        with Path("/proc/cpuinfo").open() as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith(key)), "")
    except OSError:
        return ""


def _instruction_sets() -> list[str]:
    flags = _of_processor("flags") or _of_processor("Features")
    return sorted(_INSTRUCTION_SETS & set(flags.split()))


def versions() -> dict[str, str]:
    """Versions of what a number depends on."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def commit() -> str:
    """The source's commit, with ``+`` where the tree had changes; empty outside a checkout."""
    here = Path(__file__)
    # Installed inside somebody else's repository, this file is not one of its files.
    if _git("ls-files", "--error-unmatch", here.name, folder=here.parent) is None:
        return ""
    return _git("describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+", folder=here.parent) or ""


def _git(*arguments: str, folder: Path) -> str | None:
    """What git prints, None where it fails or is missing."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)  # noqa: S603, S607
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
