"""A run made by the command itself, once for all tests."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from nsm.cli import app

Command = Callable[..., Result]


@pytest.fixture(scope="session")
def nsm() -> Command:
    """Runs the command line; its output and its exit code."""
    return lambda *arguments, **options: CliRunner().invoke(app, list(map(str, arguments)), **options)


@pytest.fixture(scope="session")
def trained(nsm: Command, tmp_path_factory: pytest.TempPathFactory) -> Result:
    folder = tmp_path_factory.mktemp("cli") / "run"
    command = ("train", "digits", "epochs=2", "eval_samples=1", "--run", folder, "--samples", 4)
    result = nsm(*command)
    assert result.exit_code == 0, result.output
    result.folder = folder
    return result


@pytest.fixture(scope="session")
def run(trained: Result) -> Path:
    """The run folder."""
    return trained.folder
