import re
import shlex
import subprocess
import sys

import pytest
import typer
from rich.text import Text

from nsm.cli import app

GROUP = typer.main.get_command(app)
COMMANDS = {
    **{name: command for name, command in GROUP.commands.items() if not hasattr(command, "commands")},
    **{
        f"{name} {below}": command
        for name, group in GROUP.commands.items()
        for below, command in getattr(group, "commands", {}).items()
    },
}


def test_every_command_is_known():
    assert {"train", "evaluate", "predict", "data list", "data fetch", "reproduce digits"} <= set(COMMANDS)


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_shows_examples(nsm, name):
    result = nsm(*name.split(), "--help")
    assert result.exit_code == 0
    assert f"Usage: root {name}".rstrip() in result.output
    assert "Examples:" in result.output
    assert f"nsm {name}".rstrip() in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_of_a_help_is_lost_as_markup(name):
    text = COMMANDS[name].help
    assert Text.from_markup(text).plain == text.replace("\\[", "[")


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_valid_command_lines(name):
    command = COMMANDS[name]
    examples = re.findall(rf"^ *nsm {name} (.*)$|^ *(nsm {name})$", command.help, re.MULTILINE)
    assert examples
    for arguments, _ in examples:
        # Parses and checks every argument, and runs nothing.
        command.make_context(name, shlex.split(arguments))


@pytest.mark.parametrize("name", ["", "data", "reproduce"])
def test_a_group_without_a_command_shows_its_help(nsm, name):
    result = nsm(*name.split())
    assert result.exit_code == 2
    assert "Usage:" in result.output
    assert "Commands" in result.output


def test_help_does_not_wait_for_torch():
    code = (
        "import sys, nsm.cli; print(sorted({'torch', 'matplotlib', 'sklearn', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_version(nsm):
    result = nsm("--version")
    assert result.exit_code == 0
    assert re.fullmatch(r"nsm \d+\.\d+\.\d+\S*\n", result.stdout)
