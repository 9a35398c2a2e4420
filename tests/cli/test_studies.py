import json

import pytest
import torch

from nsm import data
from nsm.studies import draw_speed, mnist, nmnist_table
from tests.report.html import Page, assert_self_contained


def test_sampling_is_measured_beside_its_rivals(nsm, tmp_path):
    path = tmp_path / "speed.json"
    chosen = ("--network", "mlp", "--network", "mnist-cnn", "--batch", 1, "--batch", 2)
    result = nsm("bench", "predict", *chosen, "--samples", 4, "--repeats", 1, "--results", path, "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert [row["name"] for row in rows] == ["mlp-1", "mlp-2", "mnist-cnn-1", "mnist-cnn-2"]
    assert all(row["ratio"] == pytest.approx(row["ours"] / row["fastest_rival"]) for row in rows)
    for row in rows:
        assert len(row["all"]) == 7
        assert row["ours"] == row["all"]["program"]
        assert row["fastest_rival"] == row["all"][row["rival"]]
    stored = json.loads(path.read_text())
    assert stored["rows"] == rows
    assert {"study", "command", "commit", "machine", "versions"} < set(stored)


def test_a_run_is_scored_beside_its_programs(nsm, run, tmp_path):
    path = tmp_path / "compiled.json"
    result = nsm("reproduce", "compiled", run, "--samples", 4, "--results", path)
    assert result.exit_code == 0, result.output
    rows = json.loads(path.read_text())["rows"]
    assert [row["what"] for row in rows] == ["network", "int8", "int4", "ternary", "binary"]
    assert all(row["n"] == 360 for row in rows)
    sizes = [row["bytes"] for row in rows[1:]]
    assert sizes == sorted(sizes, reverse=True)
    assert abs(rows[1]["error_percent"] - rows[0]["error_percent"]) < 3.0


def test_drawing_is_measured_beside_plain_torch(nsm, tmp_path, monkeypatch):
    monkeypatch.setattr(draw_speed, "_SHAPE", (2, 16, 32))
    monkeypatch.setattr(draw_speed, "_SYNAPSES", (2, 8, 100))
    monkeypatch.setattr(draw_speed, "_COPIED", 2**10)
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


@pytest.mark.data
def test_training_is_measured_beside_the_twin(nsm, data_folder, monkeypatch):
    # Compiling the twin takes a minute; what is timed in its place is the twin once more.
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: None)
    command = ("bench", "train", "--network", "mnist-mlp", "--steps", 2, "--repeats", 1)
    result = nsm(*command, "--data-dir", data_folder)
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[0] for line in lines] == ["what", "mnist-mlp-epoch", "mnist-mlp-memory"]
    assert all(float(line[-2]) > 0.1 for line in lines[1:])


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
    result = nsm(*command, "--picture", picture, "--quiet", "--json")
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert len(rows) == 2 + 2 * 2 * 3
    assert rows == json.loads((tmp_path / "runs" / "results.json").read_text())["rows"]
    assert all(entry["learnt"] < 1000 for entry in rows if entry["regime"] == "simulated")
    assert picture.read_bytes().startswith(b"\x89PNG")
    page = Page((tmp_path / "runs" / "report.html").read_text())
    assert_self_contained(page)
    assert list(nmnist_table.HEADINGS) in page.cells
    again = nsm(*command)
    assert again.exit_code == 0, again.output
    assert "simulated," in again.stdout


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("reproduce mnist --network mnist", "network must be one of mnist-cnn, mnist-mlp, got 'mnist'"),
        ("reproduce mnist --kind nsm", f"kind must be one of {', '.join(mnist.KINDS)}, got 'nsm'"),
        ("reproduce tables {folder}/nothing.md", "nothing.md"),
        ("reproduce tables {folder}/page.md", "which does not exist"),
        ("bench train --network cnn", "network must be one of"),
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
def test_the_comparison_on_gestures_runs_and_continues(nsm, tmp_path):
    picture = tmp_path / "gestures.png"
    command = ("reproduce", "dvsgesture", "--quick", "--runs", tmp_path, "--picture", picture, "--json")
    result = nsm(*command)
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert [row["model"] for row in rows] == ["bnsm", "twin"]
    for row in rows:
        assert row["set"] == "dvsgesture-simulated"
        assert (row["train_windows"], row["n"], row["gestures"]) == (22 * 18, 11 * 18, 11)
        assert 0.0 <= row["gesture_error_percent"] <= 100.0
    assert json.loads((tmp_path / "quick" / "results.json").read_text())["rows"] == rows
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert json.loads(nsm(*command).stdout)["rows"] == rows


def test_gestures_are_simulated_into_the_data_folder(nsm, tmp_path):
    command = ("data", "simulate", "gestures", "--small", "--data-dir", tmp_path)
    result = nsm(*command)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == f"3 recordings: {tmp_path / 'DvsGestureSimulated'}"
    (known,) = (
        row
        for row in json.loads(nsm("data", "list", "--data-dir", tmp_path, "--json").stdout)["sets"]
        if row["name"] == "dvsgesture-simulated"
    )
    assert known["present"] is True
    assert nsm(*command, "--seed", 1).exit_code == 1
