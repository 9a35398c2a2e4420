"""What a user sees of an error: one line, and an exit code that says what kind it was."""

from __future__ import annotations

import signal
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from nsm.cli.plain import plain

# What the library raises on purpose is one of these; anything else is a defect and keeps its traceback.
_EXPECTED = (ValueError, ArithmeticError, OSError, ModuleNotFoundError)


class Commands(TyperGroup):
    """The group of all commands.

    Exit codes: 0 after success, 1 after an error, 2 after a wrong command line, 128 plus the signal's number
    after an interruption (130 for Ctrl-C).
    """

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the command line names."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interruption:
            _say(str(interruption) or "interrupted")
            raise typer.Exit(128 + getattr(interruption, "signal", signal.SIGINT)) from interruption
        except BrokenPipeError:
            raise  # whoever read the output has seen enough: typer ends without a word
        except _EXPECTED as error:
            if ctx.params["traceback"]:
                raise
            _say(f"error: {error}")
            raise typer.Exit(1) from error


def _say(message: str) -> None:
    print("nsm:", plain(" ".join(message.split())), file=sys.stderr)  # noqa: T201
