"""A run that was stopped in any way ends as one that never was."""

import csv
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import safetensors.torch

from nsm.training import METRICS_FILE, TrainingInterrupted, train
from nsm.training.checkpoint import CHECKPOINT_FILE
from nsm.training.run import Run
from tests.training import killed
from tests.training.configs import digits

ROOT = Path(__file__).parents[2]


def metrics_without_time(folder):
    with (folder / METRICS_FILE).open() as file:
        return [row[:-1] for row in csv.reader(file)]


def assert_same_run(left, right):
    assert (left / "model.safetensors").read_bytes() == (right / "model.safetensors").read_bytes()
    assert metrics_without_time(left) == metrics_without_time(right)
    ours, theirs = (safetensors.torch.load_file(folder / CHECKPOINT_FILE) for folder in (left, right))
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)


def test_killed_at_random_moments(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.training.killed", tmp_path / "killed", "0"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    steps = [int(line) for line in result.stdout.split()]
    assert len(steps) == killed.KILLS
    assert any(step % 12 for step in steps)
    train(killed.CONFIG, tmp_path / "whole", quiet=True)
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_at_the_next_step(tmp_path, monkeypatch, number):
    config = digits(epochs=3, averaging=0.9, model="twin-dropout", shift=1.0)
    original = Run.step

    def step(self, shard, request):
        if self.progress.step == 16:
            signal.raise_signal(number)
        return original(self, shard, request)

    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(Run, "step", step)
        with pytest.raises(KeyboardInterrupt, match=r"stopped after step 17; .* --resume") as caught:
            train(config, tmp_path / "stopped", quiet=True)
    assert isinstance(caught.value, TrainingInterrupted)
    assert (caught.value.step, caught.value.signal) == (17, number)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    assert not (tmp_path / "stopped" / "model.safetensors").exists()

    # A row and a leftover from after the checkpoint, as a kill leaves them.
    with (tmp_path / "stopped" / METRICS_FILE).open("a") as file:
        file.write("2,24,0.1,1.0,1.0,0.1,0.001,1.0\n")
    (tmp_path / "stopped" / ".checkpoint.safetensors.17.tmp").write_bytes(b"half")
    train(config, tmp_path / "stopped", quiet=True, resume=True)
    train(config, tmp_path / "whole", quiet=True)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")
    assert not list((tmp_path / "stopped").glob(".*"))


@pytest.mark.parametrize("model", ["nsm", "twin"])
def test_a_run_goes_on_without_the_folder_that_it_started_from(tmp_path, monkeypatch, model):
    start = tmp_path / "start"
    train(digits(model=model, epochs=1), start, quiet=True)
    config = digits(start=str(start), averaging=0.9)
    train(config, tmp_path / "whole", quiet=True)
    original = Run.step

    def step(self, shard, request):
        if self.progress.step == 5:
            signal.raise_signal(signal.SIGTERM)
        return original(self, shard, request)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "step", step)
        with pytest.raises(TrainingInterrupted):
            train(config, tmp_path / "stopped", quiet=True)
    start.rename(tmp_path / "elsewhere")
    train(config, tmp_path / "stopped", quiet=True, resume=True)
    assert_same_run(tmp_path / "stopped", tmp_path / "whole")


@pytest.fixture
def ctrl_c_interrupts():
    # A shell's background jobs are started with Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_a_second_ctrl_c_acts_at_once(tmp_path, monkeypatch):
    def step(_self, _shard, _request):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Run, "step", step)
    with pytest.raises(KeyboardInterrupt) as caught:
        train(digits(), tmp_path, quiet=True)
    assert not isinstance(caught.value, TrainingInterrupted)


def test_training_works_outside_the_main_thread(tmp_path):
    thread = threading.Thread(target=train, args=(digits(epochs=1), tmp_path), kwargs={"quiet": True})
    thread.start()
    thread.join()
    assert (tmp_path / "model.safetensors").exists()


def test_the_clock_writes_checkpoints_too(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(Run, "save", lambda self: saved.append(self.progress.step))
    train(digits(checkpoint_minutes=1e-9, epochs=1), tmp_path, quiet=True)
    assert saved == [*range(1, 13), 12]
