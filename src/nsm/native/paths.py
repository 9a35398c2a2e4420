"""Which form of the operators runs: the C++ kernels or plain torch."""

from __future__ import annotations

import functools
import logging
import os
from types import ModuleType

VARIABLE = "NSM_KERNELS"
CHOICES = ("auto", "native", "off")

_log = logging.getLogger(__name__)


@functools.cache
def _extension() -> ModuleType | ImportError:
    try:
        from nsm.native import _kernels
    except ImportError as error:
        return error
    else:
        return _kernels


@functools.cache
def _say_missing(reason: ImportError) -> None:
    _log.warning(
        "the C++ kernels are not installed (%s): sampling runs in plain torch, several times slower. "
        "Install the package where a C++ compiler is available, or set %s=off to silence this.",
        reason,
        VARIABLE,
    )


def kernels() -> ModuleType | None:
    """The compiled extension if it is to be used, else None; read anew at each call.

    Raises:
        ValueError: if ``NSM_KERNELS`` is none of its choices, or is native where the extension is missing.
    """
    choice = os.environ.get(VARIABLE, "auto")
    if choice not in CHOICES:
        raise ValueError(f"{VARIABLE} must be one of {', '.join(CHOICES)}, got {choice!r}")
    if choice == "off":
        return None
    extension = _extension()
    if isinstance(extension, ModuleType):
        return extension
    if choice == "native":
        raise ValueError(f"{VARIABLE}=native, but the C++ kernels are not installed: {extension}")
    _say_missing(extension)
    return None


@functools.cache
def instruction_set() -> str:
    """The best instruction set of this processor that the kernels were built for."""
    extension = _extension()
    assert isinstance(extension, ModuleType)
    best: str = extension.instruction_sets()[0]
    return best


def active() -> str:
    """``"native"`` if float32 and bfloat16 on the CPU run in the C++ kernels, ``"torch"`` if nothing does.

    Raises:
        ValueError: see :func:`kernels`.
    """
    return "torch" if kernels() is None else "native"
