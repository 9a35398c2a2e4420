import json
import shutil
from collections import Counter

import pytest
import torch

from nsm import data, native
from nsm.data.simulated.gestures import FOLDER, recording
from nsm.studies import (
    ceiling,
    compiled,
    draw_speed,
    mnist,
    nmnist_table,
    practice,
    predict_scaling,
    predict_speed,
    timing,
)
from tests.report.html import Page, assert_self_contained


@pytest.fixture
def small_ceilings(monkeypatch):
    monkeypatch.setattr(timing, "_REST", 0.001)
    monkeypatch.setattr(ceiling, "COPIED", 2**10)
    monkeypatch.setattr(ceiling, "MULTIPLY_ADDS", 10**4)
    monkeypatch.setattr(practice, "STEPS", 2)


@pytest.mark.usefixtures("small_ceilings")
def test_sampling_is_measured_beside_its_rivals(nsm, tmp_path, monkeypatch):
    # Compiling takes a minute; what is timed in its place is plain torch once more.
    monkeypatch.setattr(torch, "compile", lambda passes, **options: passes)
    path = tmp_path / "speed.json"
    chosen = ("--network", "mlp", "--network", "mnist-cnn", "--batch", 1)
    used = ("--samples", 4, "--repeats", 1, "--threads", 1, "--threads", 2)
    result = nsm("bench", "predict", *chosen, *used, "--results", path, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["rows"]
    names = ["mlp-1", "decision", "mnist-cnn-1"]
    assert [row["name"] for row in found] == [*names, *(f"{name}-threads-2" for name in names)]
    assert all(row["ratio"] == pytest.approx(row["ours"] / row["fastest_rival"]) for row in found)
    for row in found:
        assert row["threads"] == (2 if row["name"].endswith("threads-2") else 1)
        if row["name"].startswith("decision"):
            assert row["ours"] == pytest.approx(1e6 / row["microseconds"])
            assert row["microseconds"] <= row["microseconds_95"]
            continue
        assert set(row["all"]) | set(row["skipped"]) == {"program", *predict_speed.RIVALS}
        assert set(row["skipped"]) <= {"torch bf16, dropout"}
        assert row["ours"] == row["all"]["program"]
        assert row["fastest_rival"] == row["all"][row["rival"]]
        assert row["memory_share"] > 0.0
        if native.active() == "native":
            most = row["multiply_adds_per_second"] / row["multiply_adds_per_sample"]
            assert row["share"] == pytest.approx(row["ours"] / most)
    stored = json.loads(path.read_text())
    assert stored["rows"] == found
    assert {"study", "command", "commit", "machine", "versions"} < set(stored)


@pytest.mark.usefixtures("small_ceilings")
def test_speed_is_measured_as_batch_samples_width_and_threads_grow(nsm, tmp_path, monkeypatch):
    for name, few in (("BATCHES", (1, 2)), ("SAMPLES", (2, 4)), ("WIDTHS", (16, 32)), ("MEMORY", (4, 400))):
        monkeypatch.setattr(predict_scaling, name, few)
    monkeypatch.setattr(predict_scaling, "_LARGE", 2)
    monkeypatch.setattr(predict_scaling, "_SAMPLES", 4)
    # What is passed to another process is not patched there.
    monkeypatch.setattr(predict_scaling, "_in_a_process", predict_scaling._added_memory)
    monkeypatch.setattr(torch, "compile", lambda passes, **options: passes)
    picture = tmp_path / "pictures" / "speed.png"
    chosen = ("--network", "mlp", "--batch", 2, "--samples", 4, "--repeats", 1)
    result = nsm("bench", "predict", *chosen, "--scaling", "--picture", picture, "--json")
    assert result.exit_code == 0, result.output
    found = {row["name"]: row for row in json.loads(result.stdout)["rows"]}
    assert {"batch-1", "batch-2", "samples-2", "samples-4", "width-16", "width-32", "threads-1"} < set(found)
    assert found["samples-4"]["of_reference"] == found["batch-2"]["of_reference"] == 1.0
    assert found["samples-2"]["of_reference"] == pytest.approx(
        found["samples-2"]["ours"] / found["samples-4"]["ours"]
    )
    if "memory-samples-400" in found:
        assert found["memory-samples-400"]["unit"] == "MiB"
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.usefixtures("small_ceilings")
def test_rounds_of_measurements_are_told():
    shape = predict_speed.Shape((784, 8, 10))
    asked = predict_speed.case("small", 1, shape=shape, samples=4, rivals=("torch, dropout",))
    told = []
    after_round = timing.counted(lambda *at: told.append(at), predict_speed.rounds(2))
    predict_speed.measured([asked], 2, after_round)
    assert told == [(done, 5) for done in range(1, 6)]


def test_a_picture_of_nothing_is_refused(nsm, tmp_path):
    result = nsm("bench", "predict", "--picture", tmp_path / "speed.png")
    assert result.exit_code == 2
    assert "--picture needs --scaling" in result.stderr


def test_runs_are_scored_beside_their_programs(nsm, run, tmp_path):
    path, copy = tmp_path / "compiled.json", tmp_path / "copy"
    shutil.copytree(run, copy)
    result = nsm("reproduce", "compiled", run, copy, "--samples", 100, "--results", path)
    assert result.exit_code == 0, result.output
    rows = json.loads(path.read_text())["rows"]
    assert [row["what"] for row in rows] == 2 * list(compiled.COMPARED)
    assert all(row["n"] == 360 for row in rows)
    sizes = [row["bytes"] for row in rows[2:6]]
    assert sizes == sorted(sizes, reverse=True)
    assert abs(rows[2]["error_percent"] - rows[0]["error_percent"]) < 3.0
    assert rows[1]["nll"] != rows[0]["nll"]
    headings, lines = compiled.table(rows)
    assert [line[0] for line in lines] == ["network, float32", *compiled.COMPARED[1:]]
    assert all(len(line) == len(headings) and line[-1] == "2" for line in lines)
    # One network twice: nothing is spread.
    assert all(line[2].endswith("+- 0.000") for line in lines[1:])


def test_a_program_is_compared_with_its_own_network():
    errors = {compiled.NETWORK: (1.0, 2.0), "int8": (1.1, 2.3)}
    rows = [
        {"run": run, "what": what, "error_percent": error, "nll": 0.5, "ece": 0.25}
        for what, found in errors.items()
        for run, error in enumerate(found)
    ]
    _, (network, program) = compiled.table(rows)
    assert network[:3] == ["network, float32", "1.500", ""]
    assert program[:3] == ["int8", "1.700", "+0.200 +- 0.100"]


def test_a_run_counts_once(nsm, run):
    result = nsm("reproduce", "compiled", run, run.parent / "." / run.name)
    assert result.exit_code == 1
    assert f"runs must differ, got {run.name} 2 times" in result.stderr


def test_programs_of_different_networks_are_not_averaged(nsm, run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    config = json.loads((other / "config.json").read_text())
    config["recipe"]["data"]["set"] = "mnist"
    (other / "config.json").write_text(json.dumps(config))
    result = nsm("reproduce", "compiled", run, other)
    assert result.exit_code == 1
    assert "got digits-mlp on digits, digits-mlp on mnist" in " ".join(result.stderr.split())
    assert not (run / "compiled.json").exists()


@pytest.mark.usefixtures("small_ceilings")
def test_drawing_is_measured_beside_plain_torch(nsm, tmp_path, monkeypatch):
    monkeypatch.setattr(draw_speed, "_SHAPE", (2, 16, 32))
    monkeypatch.setattr(draw_speed, "_SYNAPSES", (2, 8, 100))
    path = tmp_path / "speed.json"
    result = nsm("bench", "draw", "--repeats", 1, "--results", path, "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert json.loads(path.read_text())["rows"] == rows
    assert [row["name"] for row in rows[:4]] == [
        "fire-fp32", "fire-and-back-fp32", "fire-bf16", "fire-and-back-bf16"
    ]  # fmt: skip
    assert {row["name"].removeprefix("synapse-") for row in rows[4:]} == set(draw_speed.LAWS)
    for row in rows:
        assert row["ratio"] == pytest.approx(row["ours"] / row["fastest_rival"])
        assert ("ceiling" in row) == row["name"].startswith("fire")


def test_measurements_are_shown_though_the_result_file_cannot_be_written(nsm, tmp_path, monkeypatch):
    row = {"name": "fire", "ours": 2.0, "fastest_rival": 1.0, "unit": "1/s", "ratio": 2.0, "threads": 1}
    monkeypatch.setattr(draw_speed, "rows", lambda _: [row])
    (tmp_path / "file").touch()
    result = nsm("bench", "draw", "--results", tmp_path / "file" / "speed.json", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["rows"] == [row]
    assert "speed.json: cannot be written" in result.stderr


@pytest.mark.data
def test_training_is_measured_beside_the_twin(nsm, data_folder, monkeypatch):
    # Compiling takes a minute; what is timed in its place is the network once more.
    passes = Counter()

    def stand_in(net, **_):
        net.register_forward_hook(lambda *_: passes.update([type(net[1])]))
        return net

    monkeypatch.setattr(torch, "compile", stand_in)
    command = ("bench", "train", "--network", "mnist-mlp", "--steps", 2, "--repeats", 1)
    result = nsm(*command, "--data-dir", data_folder)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[0] for line in lines] == ["what", "mnist-mlp-epoch", "mnist-mlp-memory"]
    assert len(passes) == 2
    assert min(passes.values()) >= 4  # two rounds of two steps
    assert all(float(line[4]) > 0.1 for line in lines[1:])


@pytest.mark.data
@pytest.mark.slow
def test_the_published_comparison_runs_and_continues(nsm, data_folder, tmp_path):
    chosen = ("--network", "mnist-mlp", "--kind", "twin", "--seeds", 1, "--epochs", 1, "--json")
    command = ("reproduce", "mnist", *chosen, "--data-dir", data_folder, "--runs", tmp_path)
    result = nsm(*command)
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["rows"]
    assert (row["network"], row["model"], row["seed"], row["epochs"]) == ("mnist-mlp", "twin", 0, 1)
    assert row["error_percent"] < 10.0
    assert json.loads((tmp_path / "results.json").read_text())["rows"] == [row]
    assert json.loads(nsm(*command).stdout)["rows"] == [row]


@pytest.mark.data
def test_nmnist_is_learnt_in_small(nsm, data_folder, tmp_path):
    if not (data.is_present("nmnist", data_folder) and data.is_present("mnist", data_folder)):
        pytest.skip(f"{data_folder} does not hold NMNIST and MNIST")
    picture = tmp_path / "pictures" / "nmnist.png"
    command = ("reproduce", "nmnist", "--quick", "--data-dir", data_folder, "--runs", tmp_path / "runs")
    result = nsm(*command, "--kind", "twin", "--picture", picture, "--quiet", "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert len(rows) == 1 + 2 * 3
    assert rows == json.loads((tmp_path / "runs" / "results.json").read_text())["rows"]
    assert all(entry["learnt"] < 1000 for entry in rows if entry["regime"] == "simulated")
    assert picture.read_bytes().startswith(b"\x89PNG")
    page = Page((tmp_path / "runs" / "report.html").read_text())
    assert_self_contained(page)
    assert list(nmnist_table.HEADINGS) in page.cells
    again = nsm(*command, "--regime", "simulated")
    assert again.exit_code == 0, again.output
    assert "conventional" in again.stdout
    assert "Bernoulli" in again.stdout


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("reproduce mnist --network mnist", "network must be one of mnist-cnn, mnist-mlp, got 'mnist'"),
        ("reproduce mnist --kind nsm", f"kind must be one of {', '.join(mnist.KINDS)}, got 'nsm'"),
        ("reproduce tables {folder}/nothing.md", "nothing.md"),
        ("reproduce tables {folder}/page.md", "which does not exist"),
        ("bench train --network cnn", "network must be one of mnist-cnn, mnist-mlp, allconv, got 'cnn'"),
        (
            "reproduce generator --stream bits",
            "stream must be one of elements, inputs, samples, layers, seeds",
        ),
    ],
)
def test_an_error_is_one_line(nsm, tmp_path, command, answer):
    (tmp_path / "page.md").write_text("<!-- table: clt -->\n<!-- end of table -->\n")
    result = nsm(
        *command.format(folder=tmp_path).split(), *(("--results", tmp_path) if "tables" in command else ())
    )
    assert result.exit_code == 1, result.output
    assert result.stderr.startswith("nsm: error: ")
    assert result.stderr.count("\n") == 1
    assert answer in result.stderr


@pytest.mark.slow
def test_the_comparison_on_gestures_runs_and_continues(nsm, few_gestures, tmp_path):
    shutil.copytree(few_gestures / FOLDER, tmp_path / "quick" / "data" / FOLDER)
    picture = tmp_path / "gestures.png"
    command = ("reproduce", "dvsgesture", "--quick", "--kind", "bnsm", "--runs", tmp_path, "--json")
    result = nsm(*command, "--picture", picture)
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["rows"]
    assert (row["model"], row["set"]) == ("bnsm", "dvsgesture-simulated")
    assert (row["train_windows"], row["n"], row["gestures"]) == (64, 11 * 18, 11)
    assert 0.0 <= row["gesture_error_percent"] <= 100.0
    assert json.loads((tmp_path / "quick" / "results.json").read_text())["rows"] == [row]
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert json.loads(nsm(*command).stdout)["rows"] == [row]


def test_gestures_are_simulated_into_the_data_folder(nsm, tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "MOTIONS", recording.MOTIONS[:1])
    command = ("data", "simulate", "gestures", "--small", "--data-dir", tmp_path)
    result = nsm(*command)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == f"2 recordings: {tmp_path / 'DvsGestureSimulated'}"
    (known,) = (
        row
        for row in json.loads(nsm("data", "list", "--data-dir", tmp_path, "--json").stdout)["sets"]
        if row["name"] == "dvsgesture-simulated"
    )
    assert known["present"] is True
    assert nsm(*command, "--seed", 1).exit_code == 1
