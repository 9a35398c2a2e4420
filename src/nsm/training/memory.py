"""Letting the C library keep the memory that a training step frees."""

from __future__ import annotations

import ctypes
import sys

# Names and numbers of glibc's malloc.h. Blocks as large as activations otherwise go back to the kernel after
# every use, and each page of the next step is faulted in and zeroed anew.
_SETTINGS = {
    "M_MMAP_THRESHOLD": (-3, 2**30),
    "M_TRIM_THRESHOLD": (-1, 2**31 - 1),
    "M_TOP_PAD": (-2, 2**27),
    "M_ARENA_MAX": (-8, 1),
}


def keep_freed_memory() -> None:
    """Tell glibc to reuse freed memory instead of returning it, for the rest of this process.

    For processes that do nothing but train: steps are faster, and the process stays at its peak of memory.
    Elsewhere than on Linux with glibc, nothing is changed.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # another C library
        return
    for parameter, value in _SETTINGS.values():
        mallopt(parameter, value)
