"""A trained network as a program of small integers: compile, save, load, sample, count."""

from nsm.engine.chain import CompileError
from nsm.engine.compiler import compile  # noqa: A004
from nsm.engine.evaluate import evaluate
from nsm.engine.files import ProgramFileError
from nsm.engine.operations import Operations, count
from nsm.engine.program import Program
from nsm.engine.quantization import PRECISIONS, Precision

__all__ = [
    "PRECISIONS",
    "CompileError",
    "Operations",
    "Precision",
    "Program",
    "ProgramFileError",
    "compile",
    "count",
    "evaluate",
]
