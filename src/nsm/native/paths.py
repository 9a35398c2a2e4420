"""Which form of the operators runs: the C++ kernels or plain torch."""

from __future__ import annotations

import functools
import importlib
import logging
import os
from types import ModuleType
from typing import NamedTuple

VARIABLE = "NSM_KERNELS"
CHOICES = ("auto", "portable", "avx2", "avx512", "amx", "neon", "off")

_log = logging.getLogger(__name__)


@functools.cache
def _extension() -> ModuleType | ImportError:
    # Not "from nsm.native import": where there is none, that says that nsm.native is to blame.
    try:
        return importlib.import_module("nsm.native._kernels")
    except ImportError as error:
        return error


# At once: only a child process that the extension saw begin knows that it has none of its parent's threads.
_extension()


@functools.cache
def _say_missing(reason: ImportError) -> None:
    _log.warning(
        "the C++ kernels are not installed (%s): sampling runs in plain torch, several times slower. "
        "Install the package where a C++ compiler is available, or set %s=off to silence this.",
        reason,
        VARIABLE,
    )


class Chosen(NamedTuple):
    """The compiled extension, and which of its instruction sets is used."""

    kernels: ModuleType
    instruction_set: str


def chosen() -> Chosen | None:
    """The compiled extension and the instruction set that ``NSM_KERNELS`` names, else the best; None if it is
    ``off`` or there is no extension. Read anew at each call.

    Raises:
        ValueError: if ``NSM_KERNELS`` is none of its choices, or is an instruction set that the processor
            lacks or that no kernels are installed for.
    """
    choice = os.environ.get(VARIABLE, "auto")
    if choice not in CHOICES:
        raise ValueError(f"{VARIABLE} must be one of {', '.join(CHOICES)}, got {choice!r}")
    if choice == "off":
        return None
    extension = _extension()
    if not isinstance(extension, ModuleType):
        if choice == "auto":
            _say_missing(extension)
            return None
        raise ValueError(f"{VARIABLE}={choice}, but the C++ kernels are not installed: {extension}")
    known = instruction_sets()
    if choice not in ("auto", *known):
        raise ValueError(f"{VARIABLE}={choice}, but on this processor the kernels run on {', '.join(known)}")
    return Chosen(extension, choice if choice in known else known[0])


def kernels() -> ModuleType | None:
    """The compiled extension if it is to be used, else None.

    Raises:
        ValueError: see :func:`chosen`.
    """
    found = chosen()
    return None if found is None else found.kernels


@functools.cache
def instruction_sets() -> tuple[str, ...]:
    """The instruction sets of this processor that the installed kernels were built for, best first."""
    extension = _extension()
    assert isinstance(extension, ModuleType)
    return tuple(extension.instruction_sets())


def instruction_set() -> str:
    """The instruction set of :func:`chosen`, or ``"off"`` where plain torch runs.

    Raises:
        ValueError: see :func:`chosen`.
    """
    found = chosen()
    return "off" if found is None else found.instruction_set


def active() -> str:
    """``"native"`` if float32 and bfloat16 on the CPU run in the C++ kernels, ``"torch"`` if nothing does.

    Raises:
        ValueError: see :func:`chosen`.
    """
    return "torch" if kernels() is None else "native"
