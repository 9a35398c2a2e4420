"""SmallCrush of TestU01's shared library, in a process of its own, which a library may end.

This module imports little, so that the process starts at once.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def examined(numbers: Iterator[bytes], library: str) -> tuple[int, dict[str, float]]:
    """How many bytes a battery took, and its p-values."""
    spawn = multiprocessing.get_context("spawn")
    written = 0
    with tempfile.TemporaryDirectory() as folder:
        pipe = Path(folder) / "numbers"
        os.mkfifo(pipe)
        receiver, sender = spawn.Pipe(duplex=False)
        battery = spawn.Process(target=_battery, args=(library, str(pipe), sender))
        battery.start()
        sender.close()
        if (to := _opened(pipe, battery)) is not None:
            try:
                with os.fdopen(to, "wb", buffering=0) as file:
                    for piece in numbers:
                        file.write(piece)
                        written += len(piece)
            except BrokenPipeError:
                pass  # the battery has seen enough
        try:
            found: dict[str, float] | str = receiver.recv()
        except EOFError:
            found = f"{library}: its battery failed"
        battery.join()
    if isinstance(found, str):
        raise ValueError(f"library must be a file of TestU01's shared library: {found}")
    return written, found


def _opened(pipe: Path, reader: Any) -> int | None:
    """The pipe's end to write to, as soon as the other process reads; None if that ends before."""
    while reader.is_alive():
        try:
            to = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            time.sleep(0.05)
        else:
            os.set_blocking(to, True)
            return to
    return None


def _battery(library: str, pipe: str, sender: Any) -> None:
    """Run SmallCrush on the numbers of a pipe and send its p-values (in a process of its own), or what is
    wrong with the library.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # its report goes there
    try:
        testu01 = ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
        testu01.ufile_CreateReadBin.restype = ctypes.c_void_p
        ctypes.c_int.in_dll(testu01, "swrite_Basic").value = 0
    except (OSError, AttributeError, ValueError) as error:  # no library, or another one
        sender.send(str(error))
        return
    generator = testu01.ufile_CreateReadBin(pipe.encode(), ctypes.c_long(2**16))
    testu01.bbattery_SmallCrush(ctypes.c_void_p(generator))
    number = ctypes.c_int.in_dll(testu01, "bbattery_NTests").value
    values = (ctypes.c_double * number).in_dll(testu01, "bbattery_pVal")
    names = (ctypes.c_char_p * number).in_dll(testu01, "bbattery_TestNames")
    sender.send({f"{i + 1} {(names[i] or b'').decode()}": values[i] for i in range(number)})
