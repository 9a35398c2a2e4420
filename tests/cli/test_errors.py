import os
import signal
import subprocess
import sys

import pytest

from nsm import training
from nsm.training import NotFiniteError, TrainingInterrupted

# The wrong inputs that a new user would try first, and a part of the answer.
WRONG = [
    ("train mnist", "recipe must be one of cifar10-allconv, "),
    ("train nowhere.toml", "nowhere.toml: cannot be read"),
    ("train digits lr=fast", "training.lr must be"),
    ("train digits learning_rate=1", "learning_rate is no field; valid fields: "),
    ("train digits epochs", "an override is written field=value, got 'epochs'"),
    ("train digits --run {run}", "is not empty: resume the run in it"),
    ("train digits epochs=3 --run {run} --resume", "holds another run: training.epochs is 2"),
    ("evaluate nowhere", "is nowhere a run folder?"),
    ("evaluate {run} --set digit", "data set must be one of digits, "),
    ("evaluate {damaged}", "not a valid safetensors file"),
    ("evaluate {run} --seed 99999999999999999999", "seed must be in [0, 2^63)"),
    ("predict nowhere image.png", "is nowhere a run folder?"),
    ("predict {run} nowhere.png", "nowhere.png: cannot be read (No such file or directory)"),
    ("predict {run} {run}/config.json", "config.json: cannot be read (not a PNG or JPEG picture)"),
    ("predict {run} {run}", "cannot be read"),
    ("predict {run} no\x1b[31m.png", r"no\x1b[31m.png: cannot be read (No such file or directory)"),
    ("compile {run} -o {run}/config.json/x.nsm", "config.json/x.nsm: cannot be written (File exists)"),
    ("data fetch minst", "data set must be one of digits, "),
    ("data fetch digits minst", "data set must be one of digits, "),
    ("reproduce digits --runs {run}/config.json", "cannot be used as a run folder"),
]
USAGE = [
    "trian digits",
    "train",
    "train digits --sample 3",
    "evaluate",
    "evaluate run --samples 0",
    "evaluate run --samples many",
    "evaluate run --split train",
    "predict run",
    "predict",
    "predict run image.png --seed -1",
    "data fetch",
    "data lists",
    "reproduce digit",
    "reproduce digits --epochs 0",
    "reproduce mnist --results .",
    "reproduce mnist --picture .",
    "bench draw --results .",
    "compile run --output .",
]


@pytest.fixture(scope="module")
def damaged(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    (folder / "config.json").write_bytes((run / "config.json").read_bytes())
    (folder / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes()[:-7])
    return folder


@pytest.mark.parametrize(("command", "answer"), WRONG)
def test_an_error_is_one_line(nsm, run, damaged, command, answer):
    result = nsm(*command.format(run=run, damaged=damaged).split())
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("nsm: error: ")
    assert result.stderr.count("\n") == 1
    assert result.stderr[:-1].isprintable()
    assert answer in result.stderr


@pytest.mark.parametrize("command", USAGE)
def test_a_wrong_command_line_is_told_from_an_error(nsm, command):
    result = nsm(*command.split())
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Usage: " in result.stderr


def test_a_flag_shows_where_an_error_came_from(nsm):
    result = nsm("--traceback", "evaluate", "nowhere")
    assert result.exit_code == 1
    assert type(result.exception).__name__ == "ModelFileError"
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("raised", "code", "words"),
    [
        (TrainingInterrupted("runs/x", 7, signal.SIGINT), 130, "stopped after step 7; a checkpoint is in"),
        (TrainingInterrupted("runs/x", 7, signal.SIGTERM), 143, "stopped after step 7; a checkpoint is in"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (NotFiniteError("step 3: the loss\n is not finite"), 1, "error: step 3: the loss is not finite"),
        (ModuleNotFoundError("TensorBoard logs need the extra"), 1, "error: TensorBoard logs need"),
    ],
)
def test_exit_codes(nsm, monkeypatch, raised, code, words):
    def train(*_, **__):
        raise raised

    monkeypatch.setattr(training, "train", train)
    result = nsm("train", "digits")
    assert result.exit_code == code
    assert result.stderr.startswith(f"nsm: {words}")
    assert result.stderr.count("\n") == 1


def test_a_defect_keeps_its_traceback(nsm, monkeypatch):
    def train(*_, **__):
        raise RuntimeError("a defect")

    monkeypatch.setattr(training, "train", train)
    result = nsm("train", "digits")
    assert isinstance(result.exception, RuntimeError)


def test_a_name_that_is_no_text_is_shown(run, tmp_path):
    program = os.fsencode(tmp_path) + b"/\xff.nsm"
    code = "from nsm.cli import main; main()"
    command = [sys.executable, "-c", code, "compile", run, "-o", program]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stderr == b""
    assert rb"/\udcff.nsm: " in done.stdout
