"""What the C library does with memory that is freed: it keeps that of a training step, and returns what a
fresh network took.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

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
    if (mallopt := _glibc("mallopt")) is not None:
        for parameter, value in _SETTINGS.values():
            mallopt(parameter, value)


def give_back_freed_memory() -> None:
    """Return what is freed by now to the kernel, even where :func:`keep_freed_memory` holds it: after work
    that took more memory than what follows.

    Elsewhere than on Linux with glibc, nothing is changed.
    """
    if (trim := _glibc("malloc_trim")) is not None:
        trim(0)


def _glibc(name: str) -> Callable[..., int] | None:
    """The function of that name; None elsewhere than on Linux with glibc."""
    function: Callable[..., int] | None = None
    if sys.platform == "linux":
        function = getattr(ctypes.CDLL(None), name, None)
    return function
