"""``nsm stream``."""

import json
import signal
import subprocess
import sys
from types import SimpleNamespace
from unittest.mock import ANY

import pytest

import nsm as nsm_library
from nsm import training
from nsm.data import events as ev
from nsm.streams import NMNIST_WINDOW, StreamPredictor
from tests.data.events.recordings import random_events

COUNTS = {"taken": 500, "late": 0, "duplicate": 0, "outside": 0}


@pytest.fixture(scope="module")
def top(tmp_path_factory):
    """An untrained network for N-MNIST as a run, its program, and a recording in two formats."""
    top = tmp_path_factory.mktemp("stream")
    run = top / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"recipe": training.load_recipe("nmnist-cnn").to_dict()}))
    nsm_library.save(nsm_library.models.build("nmnist-cnn"), run)
    nsm_library.compile(nsm_library.load(run)).save(top / "program.nsm")
    events = random_events(500, last=45_000)
    ev.write_nmnist(top / "recording.bin", events)
    ev.write_aedat(top / "recording.aedat", events)
    return top


def lines(result):
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_decisions_are_those_of_the_library(nsm, top):
    *found, last = lines(
        nsm("stream", top / "run", top / "recording.bin", "--samples", 3, "--seed", 5, "--json")
    )
    predictor = StreamPredictor(nsm_library.load(top / "run"), NMNIST_WINDOW, samples=3, seed=5)
    expected = list(predictor.decisions([ev.read_nmnist(top / "recording.bin")]))
    assert last == {"events": COUNTS}
    assert len(found) == len(expected) == 5
    for line, decision in zip(found, expected, strict=True):
        assert line["ms"] == decision.time / 1000
        assert line["class"] == str(decision.label)
        assert line["probability"] == decision.probability
        assert line["samples"] == 3
        assert list(line["probabilities"].values()) == decision.prediction.probabilities[0].tolist()


def test_formats_and_standard_input_give_the_same(nsm, top):
    chosen = ("--samples", 1, "--every", 20, "--json")
    one = lines(nsm("stream", top / "run", top / "recording.bin", *chosen))
    assert lines(nsm("stream", top / "run", top / "recording.aedat", *chosen)) == one
    for name in ("recording.bin", "recording.aedat"):
        data = (top / name).read_bytes()
        assert lines(nsm("stream", top / "run", "-", *chosen, input=data)) == one
    assert [line["ms"] for line in one[:-1]] == pytest.approx([one[0]["ms"] + 20 * i for i in range(3)])


def test_a_time_that_is_no_exact_float_is_a_whole_number_of_microseconds(nsm, top):
    chosen = ("--samples", 1, "--every", 16.1, "--json")
    first, second, *_ = lines(nsm("stream", top / "run", top / "recording.bin", *chosen))
    assert second["ms"] - first["ms"] == pytest.approx(16.1)


def test_programs_and_confidence(nsm, top):
    recording = (top / "run", top / "recording.bin", "--every", 20)
    program = lines(nsm("stream", *recording, "--program", top / "program.nsm", "--samples", 2, "--json"))
    assert [line["samples"] for line in program[:-1]] == [2, 2, 2]
    sure = lines(nsm("stream", *recording, "--confidence", 0.6, "--max-samples", 9, "--json"))
    assert all(line["reason"] in ("settled", "limit", "futile") for line in sure[:-1])
    assert all(1 <= line["samples"] <= 9 for line in sure[:-1])
    both = ("--program", top / "program.nsm", "--confidence", 0.6, "--max-samples", 9, "--json")
    sure = lines(nsm("stream", *recording, *both))
    assert all(1 <= line["samples"] <= 9 for line in sure[:-1])


def test_a_table_for_people(nsm, top):
    result = nsm("stream", top / "run", top / "recording.bin", "--samples", 1, "--every", 20)
    assert result.exit_code == 0, result.output
    heading, *decisions, counts = result.stdout.splitlines()
    assert heading.split() == ["ms", "class", "probability", "entropy", "mutual", "information", "samples"]
    assert len(decisions) == 3
    assert counts == "events: 500 taken, 0 late, 0 duplicate, 0 outside"


def test_simulated_digits(nsm, top, tmp_path):
    result = nsm("stream", top / "run", "--simulate", "--data-dir", tmp_path)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "MNIST" in result.stderr


@pytest.mark.data
def test_simulated_digits_are_played(nsm, top, data_folder):
    chosen = ("--simulate", "--samples", 1, "--every", 100, "--json", "--data-dir", data_folder)
    found = lines(nsm("stream", top / "run", *chosen))
    assert found == lines(nsm("stream", top / "run", *chosen))
    assert 50 <= len(found) - 1 <= 70
    assert found[-1]["events"]["taken"] > 20_000


@pytest.mark.parametrize(
    ("arguments", "answer", "before"),
    [
        ("{top}/run {top}/nowhere.bin", "nowhere.bin: cannot be read (No such file or directory)", 0),
        ("{top}/run {top}", "cannot be read", 0),
        ("{top}/run {top}/empty.bin", "empty.bin: holds nothing", 0),
        ("{top}/run {top}/cut.bin", "cut.bin: ends within an event, 2 bytes after byte 2495", 4),
        ("{top}/run {top}/cut.aedat", "cut.aedat: packet at byte 61 says 500 events of 8 bytes, but 3997", 4),
        ("{top}/run {top}/recording.bin --every 0", "--every must be a whole number of microseconds", 0),
        ("{top}/run {top}/recording.bin --every 10.001", "every must have a longer common divisor", 0),
        ("{top}/run {top}/recording.bin --every 16.1005", "--every must be a whole number of", 0),
        ("{top}/run {top}/recording.bin --every nan", "--every must be a whole number of microseconds", 0),
        ("{top}/run {top}/recording.bin --confidence 2", "confidence must be in (0, 1)", 0),
        ("{top}/run {top}/recording.bin --program {top}/recording.bin", "recording.bin: ", 0),
        ("{top}/nowhere {top}/recording.bin", "is {top}/nowhere a run folder?", 0),
        (
            "{run} {top}/recording.bin",
            "a stream needs a network for recordings of events; digits holds images of (1, 8, 8)",
            0,
        ),
    ],
)
def test_an_error_is_one_line(nsm, top, run, arguments, answer, before):
    (top / "empty.bin").write_bytes(b"")
    for kind in ("bin", "aedat"):
        (top / f"cut.{kind}").write_bytes((top / f"recording.{kind}").read_bytes()[:-3])
    result = nsm("stream", *arguments.format(top=top, run=run).split(), "--json")
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("nsm: error: ")
    assert result.stderr.count("\n") == 1
    assert answer.format(top=top) in result.stderr
    # What came before the damage is told.
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(found[:-1]) == before
    assert found[-1:] in ([], [{"events": ANY}])


@pytest.mark.parametrize(
    "arguments", ["run", "run file --simulate", "run file --samples 0", "run file --every x"]
)
def test_a_wrong_command_line_is_told_so(nsm, arguments):
    result = nsm("stream", *arguments.split())
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_closed_standard_input_is_told(nsm, top, monkeypatch):
    # What Python has for it after "<&-".
    monkeypatch.setattr(sys.modules["nsm.cli.stream"], "sys", SimpleNamespace(stdin=None))
    result = nsm("stream", top / "run", "-")
    assert result.exit_code == 1
    assert result.stderr == "nsm: error: standard input: cannot be read (it is closed)\n"


def test_control_c_ends_cleanly(top):
    # A shell makes what it runs in the background ignore Ctrl-C, this test with it.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "from nsm.cli import main; main()"
    command = [sys.executable, "-c", code, "stream", top / "run", "-", "--samples", "1", "--json"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdin.write((top / "recording.bin").read_bytes())
        process.stdin.flush()
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
        rest, errors = process.stdout.read(), process.stderr.read()
    assert json.loads(first)["samples"] == 1
    assert json.loads(rest.splitlines()[-1])["events"]["taken"] > 0
    assert process.returncode == 130
    assert errors == b"nsm: interrupted\n"
