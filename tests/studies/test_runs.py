"""A study's runs on the bundled digits: one second each."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nsm import evaluate
from nsm.data import Splits
from nsm.models import Network
from nsm.models.files import WEIGHTS_FILE
from nsm.studies import runs
from nsm.studies.results import read_json
from nsm.training.checkpoint import CHECKPOINT_FILE
from nsm.training.metrics import METRICS_FILE
from nsm.training.signals import stop_request
from tests.training.configs import digits


def score(job: runs.Job, net: Network, splits: Splits, *, samples: int = 4) -> dict[str, Any]:
    return {**evaluate(net, splits.test, samples=samples).to_dict(), "label": job.label}


SCORING = runs.Scoring(score, {"samples": 4})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict[str, Any]]:
    jobs = [runs.Job(label, digits(model=label, epochs=1), folder / label) for label in ("nsm", "twin")]
    rows = [dict(row) for row in runs.rows(jobs, SCORING, processes=2, root=None)]
    return sorted(rows, key=lambda row: str(row["model"]))


def test_every_job_gives_a_row(found: list[dict[str, Any]]) -> None:
    assert [row["model"] for row in found] == ["nsm", "twin"] == [row["label"] for row in found]
    assert all(row["network"] == "digits-mlp" and row["epochs"] == 1 and row["n"] == 360 for row in found)
    assert [row["samples"] for row in found] == [4, 1]


def test_scores_are_read_once_and_kept(
    folder: Path, found: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwanted(*_: object) -> None:
        raise AssertionError("a study that is finished needs no processes")

    monkeypatch.setattr(runs, "ProcessPoolExecutor", unwanted)
    kept = folder / "twin" / runs.SCORES_FILE
    assert json.loads(kept.read_text()) == {"asked": {"samples": 4}, "row": found[1]}
    kept.write_text(json.dumps({"asked": {"samples": 4}, "row": {**found[1], "error_percent": -1.0}}))
    job = runs.Job("twin", digits(model="twin", epochs=1), folder / "twin")
    (again,) = runs.rows([job], SCORING, processes=1, root=None)
    assert again["error_percent"] == -1.0


def test_a_run_is_scored_anew_where_something_else_is_asked(
    folder: Path, found: list[dict[str, Any]]
) -> None:
    job = runs.Job("nsm", digits(epochs=1), folder / "nsm")
    weights = (job.folder / WEIGHTS_FILE).read_bytes()
    asked = runs.Scoring(functools.partial(score, samples=2), {"samples": 2})
    (row,) = runs.rows([job], asked, processes=1, root=None)
    assert row["samples"] == 2
    assert row["seconds"] == found[0]["seconds"]
    assert (job.folder / WEIGHTS_FILE).read_bytes() == weights
    assert [dict(known) for known in runs.rows([job], asked, processes=1, root=None)] == [row]


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_damaged_scores_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / runs.SCORES_FILE
    path.write_text(content)
    with pytest.raises(ValueError, match=r"scores.json: .* JSON.*; remove it to make it anew"):
        read_json(path)


@pytest.mark.parametrize(("asked", "cores"), [("3", 3), (" 2, 1", 2)])
def test_the_threads_that_are_asked_for_are_shared(
    monkeypatch: pytest.MonkeyPatch, asked: str, cores: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert runs._cores() == cores


def test_threads_that_are_no_number_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "all")
    with pytest.raises(ValueError, match="OMP_NUM_THREADS must be a number of threads >= 1, got 'all'"):
        runs._cores()


def test_a_run_that_starts_from_another_waits_for_it(tmp_path: Path) -> None:
    twin = runs.Job("twin", digits(model="twin", epochs=1), tmp_path / "twin")
    follower = runs.Job("nsm", digits(epochs=1, start=str(twin.folder)), tmp_path / "nsm")
    found = list(runs.rows([follower, twin], SCORING, processes=2, root=None))
    assert [row["model"] for row in found] == ["twin", "nsm"]
    assert found[1]["train_error_percent"] < found[0]["train_error_percent"]


def test_a_run_that_fails_ends_the_study(folder: Path, found: list[dict[str, Any]]) -> None:
    other = runs.Job("twin", digits(model="twin", epochs=2), folder / "twin")
    with pytest.raises(ValueError, match="holds another run"):
        list(runs.rows([other], SCORING, processes=1, root=None))


def test_a_killed_process_is_explained() -> None:
    with (
        pytest.raises(ChildProcessError, match=r"was killed.*what is trained so far is kept: repeat to go"),
        runs._workers(1),
    ):
        raise BrokenProcessPool


def test_a_run_that_is_asked_to_end_is_not_asked_again_by_the_end_of_its_study(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(runs.multiprocessing, "parent_process", lambda: SimpleNamespace(join=lambda: None))
    monkeypatch.setattr(runs.os, "kill", lambda *signalled: sent.append(signalled))
    with stop_request():
        signal.raise_signal(signal.SIGTERM)
        runs._end_with_parent()
        assert not sent
    runs._end_with_parent()
    assert sent == [(os.getpid(), signal.SIGTERM)]


def _until(met: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60.0
    while not met():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.05)


def _begun_by(process: int | str) -> list[str]:
    """Processes that one has begun, and that these have begun."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [each for child in children for each in (child, *_begun_by(child))]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes of the pool in /proc")
def test_runs_end_with_a_checkpoint_when_their_study_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.studies.killed", str(tmp_path)]
    with subprocess.Popen(command) as study:
        _until((tmp_path / METRICS_FILE).exists, "the run had begun")
        children = _begun_by(study.pid)
        study.kill()
    assert children
    _until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), "the pool was gone")
    assert (tmp_path / CHECKPOINT_FILE).is_file()
