"""A trained network as a program of small integers: compile, save, load, sample, count."""

from nsm.engine.compile import PRECISIONS, CompileError, Precision, compile  # noqa: A004
from nsm.engine.program import Program

__all__ = ["PRECISIONS", "CompileError", "Precision", "Program", "compile"]
