import json
import shutil

import pytest
import torch
from PIL import Image

import nsm as library
from nsm import data, training
from tests.report.html import Page, assert_self_contained
from tests.training.sets import made_up


def one_object(result):
    """The only thing that a command with --json prints."""
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def seven(tmp_path_factory):
    """The first seven of the test images as a user might keep it: larger, and dark on light."""
    images = data.load("digits").test
    index = int((images.targets == 7).nonzero()[0])
    picture = Image.fromarray(255 - images.images[index, 0].numpy()).resize(
        (80, 80), Image.Resampling.NEAREST
    )
    path = tmp_path_factory.mktemp("pictures") / "se[v]en.png"
    picture.save(path)
    return path


def test_training_leaves_a_run_folder_with_a_report(trained):
    assert sorted(path.name for path in trained.folder.iterdir()) == [
        "checkpoint.safetensors",
        "config.json",
        "metrics.csv",
        "model.safetensors",
        "report.html",
    ]
    report = Page((trained.folder / "report.html").read_text())
    assert_self_contained(report)
    assert ["training.epochs", "2"] in report.cells
    (line,) = trained.stdout.splitlines()
    assert line.startswith("run: test error ")
    assert line.endswith("report.html")


def test_a_finished_run_is_resumed_at_once_and_reported_again(nsm, run):
    before = (run / "model.safetensors").read_bytes()
    (run / "report.html").unlink()
    result = nsm("train", "digits", "epochs=2", "eval_samples=1", "--run", run, "--resume", "--samples", 2)
    assert result.exit_code == 0
    assert (run / "report.html").exists()
    assert (run / "model.safetensors").read_bytes() == before


def test_evaluation_as_json(nsm, run):
    scores = one_object(nsm("evaluate", run, "--samples", 3, "--json"))
    assert scores["samples"] == 3
    assert scores["n"] == 360
    assert 0 <= scores["error_percent"] <= 100
    assert scores["nll"] > 0
    assert 0 <= scores["ece"] <= 1
    assert (scores["set"], scores["split"], scores["seed"]) == ("digits", "test", 0)
    assert scores == one_object(nsm("evaluate", run, "--samples", 3, "--json"))
    assert scores != one_object(nsm("evaluate", run, "--samples", 3, "--json", "--seed", 1)) | {"seed": 0}


def test_evaluation_until_settled(nsm, run):
    scores = one_object(nsm("evaluate", run, "--confidence", 0.9, "--max-samples", 20, "--json"))
    assert 1 <= scores["samples"] <= 20
    assert (scores["confidence"], scores["n"]) == (0.9, 360)
    assert f"{scores['samples']:.2f}" in nsm("evaluate", run, "--confidence", 0.9, "--max-samples", 20).stdout


@pytest.mark.parametrize("fidelity", ["mean", "marginal", "threshold"])
def test_one_pass_without_draws_is_scored_and_asked(nsm, run, seven, fidelity):
    scores = one_object(nsm("evaluate", run, "--fidelity", fidelity, "--json"))
    assert (scores["fidelity"], scores["samples"]) == (fidelity, 1)
    again = one_object(nsm("evaluate", run, "--fidelity", fidelity, "--seed", 1, "--json"))
    assert again | {"seed": 0} == scores
    images = training.load_splits(training.read_recipe(run)).test
    with library.fidelity(fidelity):
        expected = library.evaluate(library.models.load(run), images)
    assert scores["error_percent"] == expected.error_percent
    (answer,) = one_object(nsm("predict", run, seven, "--fidelity", fidelity, "--json"))["predictions"]
    assert (answer["samples"], answer["reason"], answer["mutual_information"]) == (1, "exact", 0.0)


@pytest.mark.parametrize("fidelity", library.nn.FIDELITIES)
def test_every_fidelity_can_be_asked_for(nsm, run, fidelity):
    scores = one_object(nsm("evaluate", run, "--fidelity", fidelity, "--samples", 1, "--json"))
    assert scores["fidelity"] == fidelity


def test_every_synapse_can_be_drawn(nsm, run):
    scores = one_object(nsm("evaluate", run, "--fidelity", "synapse", "--samples", 2, "--json"))
    assert scores["samples"] == 2
    assert scores != one_object(nsm("evaluate", run, "--samples", 2, "--json")) | {"fidelity": "synapse"}


def test_evaluation_on_validation_images(nsm, run):
    scores = one_object(nsm("evaluate", run, "--samples", 1, "--json", "--split", "validation"))
    assert (scores["n"], scores["split"]) == (300, "validation")


def test_a_run_without_validation_images_says_so(nsm, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["recipe"]["data"]["validation"] = 0
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    result = nsm("evaluate", tmp_path / "run", "--split", "validation")
    assert result.exit_code == 1
    assert "--split validation:" in result.stderr
    assert "was trained without images held out for it" in " ".join(result.stderr.split())


def test_an_answer_that_is_none_is_refused(nsm, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    net = library.models.load(run)
    with torch.no_grad():
        net[-1].weight.fill_(3e38)
    library.models.save(net, tmp_path / "run")
    Image.new("L", (8, 8), 200).save(tmp_path / "grey.png")
    result = nsm("predict", tmp_path / "run", tmp_path / "grey.png", "--samples", 2, "--json")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "grey.png: " in result.stderr
    assert "gives outputs that are not finite" in " ".join(result.stderr.split())


def test_evaluation_as_a_table(nsm, run):
    result = nsm("evaluate", run, "--samples", 3)
    assert result.exit_code == 0
    assert f"{run}: 360 test images of Digits (scikit-learn)" in result.stdout
    scores = one_object(nsm("evaluate", run, "--samples", 3, "--json"))
    last = result.stdout.splitlines()[-1].split()
    assert last == ["3", f"{scores['error_percent']:.2f}", f"{scores['nll']:.4f}", f"{scores['ece']:.4f}"]


def test_a_set_of_other_images_is_refused(nsm, run, data_folder):
    result = nsm("evaluate", run, "--set", "mnist", "--data-dir", data_folder)
    assert result.exit_code == 1
    assert "must have shape (B, 1, 8, 8)" in result.stderr


def test_a_run_is_compiled_and_the_program_scored(nsm, run, tmp_path):
    path = tmp_path / "digits.nsm"
    result = nsm("compile", run, "-o", path, "--weights", "int4")
    assert result.exit_code == 0, result.output
    assert result.stdout.replace("\n", "").startswith(f"{path}: 3 steps, int4 weights")
    scores = one_object(nsm("evaluate", run, "--program", path, "--samples", 20, "--json"))
    network = one_object(nsm("evaluate", run, "--samples", 20, "--json"))
    assert scores["program"] == str(path)
    assert scores["n"] == network["n"]
    assert abs(scores["error_percent"] - network["error_percent"]) < 3.0
    assert str(path) in nsm("evaluate", run, "--program", path, "--samples", 2).stdout.replace("\n", "")


def test_a_program_keeps_the_fidelity_it_was_compiled_at(nsm, run, seven, tmp_path):
    path = tmp_path / "digits.nsm"
    assert nsm("compile", run, "-o", path).exit_code == 0
    for asked in (("evaluate", run), ("predict", run, seven)):
        result = nsm(*asked, "--program", path, "--fidelity", "marginal")
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
        assert "fidelity must not be given with a program" in result.stderr


def test_a_program_is_scored_until_settled(nsm, run, tmp_path):
    path = tmp_path / "digits.nsm"
    nsm("compile", run, "-o", path)
    asked = ("evaluate", run, "--confidence", 0.9, "--max-samples", 20, "--json")
    scores, network = one_object(nsm(*asked, "--program", path)), one_object(nsm(*asked))
    assert 1.0 <= scores["samples"] <= 20.0
    assert scores["samples"] == pytest.approx(network["samples"], rel=0.3)
    assert abs(scores["error_percent"] - network["error_percent"]) < 3.0


def test_a_broken_program_is_one_line(nsm, run, tmp_path):
    path = tmp_path / "broken.nsm"
    path.write_bytes(b"\x89NSM\r\n\x1a\n")
    result = nsm("evaluate", run, "--program", path)
    assert result.exit_code == 1
    assert result.stderr == f"nsm: error: {path}: ends after 8 bytes, within its header\n"


def test_prediction_of_an_image_file(nsm, run, seven):
    said = one_object(nsm("predict", run, seven, seven, "--samples", 20, "--json"))
    assert {one["samples"] for one in said["predictions"]} == {20}
    first, second = said["predictions"]
    assert first["image"] == second["image"] == str(seven)
    assert first["class"] == "7"
    assert first["probability"] == max(first["probabilities"].values())
    assert sum(first["probabilities"].values()) == pytest.approx(1.0)
    assert 0 <= first["mutual_information"] <= first["entropy"]
    # The same image under another index gets other draws.
    assert first["probabilities"] != second["probabilities"]


def test_prediction_until_the_class_is_settled(nsm, run, seven):
    command = ("predict", run, seven, "--confidence", 0.9, "--max-samples", 30, "--json")
    (one,) = one_object(nsm(*command))["predictions"]
    assert (one["reason"] == "settled" and one["samples"] <= 30) or (one["reason"], one["samples"]) == (
        "limit",
        30,
    )
    result = nsm("predict", run, seven, "--confidence", 0.9, "--samples", 5)
    assert result.exit_code == 1
    assert "samples must not be given with a confidence" in result.stderr


def test_prediction_by_a_program(nsm, run, seven, tmp_path):
    path = tmp_path / "digits.nsm"
    nsm("compile", run, "-o", path)
    asked = ("predict", run, seven, "--confidence", 0.9, "--max-samples", 50, "--json")
    told, network = one_object(nsm(*asked, "--program", path)), one_object(nsm(*asked))
    assert told["program"] == str(path)
    (one,), (other,) = told["predictions"], network["predictions"]
    assert one["class"] == other["class"]
    assert one["reason"] == "settled"


def test_a_program_of_another_number_of_classes_is_refused(nsm, run, seven, tmp_path):
    path = tmp_path / "folder that is not there" / "letters.nsm"
    net = torch.nn.Sequential(torch.nn.Flatten(), library.nn.Linear(64, 20), torch.nn.Linear(20, 12))
    library.compile(net, image=(1, 8, 8)).save(path)
    for asked in (("predict", run, seven), ("evaluate", run)):
        result = nsm(*asked, "--program", path)
        assert result.exit_code == 1
        assert result.stderr.startswith(f"nsm: error: {path}: tells 12 classes apart, but the run in ")


def test_prediction_as_a_table(nsm, run, seven):
    result = nsm("predict", run, seven, "--samples", 20)
    assert result.exit_code == 0
    assert "[" in result.stdout  # of the name, which is no markup
    assert "mutual" in result.stdout


def test_a_table_holds_nothing_that_a_terminal_obeys(nsm, run, seven, tmp_path):
    picture = tmp_path / "\x1b[31m\n.png"
    picture.write_bytes(seven.read_bytes())
    result = nsm("predict", run, picture, "--samples", 1)
    assert result.exit_code == 0, result.output
    assert r"\x1b[31m\n.png" in result.stdout.replace("\n", "").replace(" ", "")
    assert all(line.isprintable() for line in result.stdout.splitlines())


def test_inversion_can_be_asked_for(nsm, run, seven):
    judged, inverted, plain = (
        one_object(nsm("predict", run, seven, "--samples", 5, "--json", *flag))["predictions"][0]
        for flag in ((), ("--invert",), ("--no-invert",))
    )
    assert judged == inverted
    assert judged["probabilities"] != plain["probabilities"]


def test_data_sets_are_listed(nsm, tmp_path):
    listed = one_object(nsm("data", "list", "--json", "--data-dir", tmp_path))
    assert listed["folder"] == str(tmp_path)
    assert {row["name"]: row["present"] for row in listed["sets"]} == {
        "digits": True,
        "digits-simulated": True,
        "mnist": False,
        "fashion-mnist": False,
        "emnist-letters": False,
        "cifar10": False,
        "cifar100": False,
        "nmnist": False,
        "nmnist-simulated": False,
        "dvsgesture": False,
        "dvsgesture-simulated": False,
        "dvsgesture-precut": False,
    }
    result = nsm("data", "list", "--data-dir", tmp_path)
    assert result.exit_code == 0
    # A long title goes on in a line of its own.
    names = [line.split()[0] for line in result.stdout.splitlines()[2:] if not line.startswith(" ")]
    assert names == list(data.SETS)
    assert "60,000" in result.stdout


def test_what_is_there_is_not_fetched(nsm, tmp_path):
    result = nsm("data", "fetch", "digits", "--data-dir", tmp_path)
    assert (result.exit_code, result.stdout) == (0, f"digits: {tmp_path}\n")


@pytest.mark.parametrize("recipe", ["cifar10-allconv", "cifar100-allconv"])
def test_images_in_colour_are_learned_reported_and_predicted(nsm, recipe, tmp_path, monkeypatch):
    splits = made_up(training.load_recipe(recipe).data.set)
    monkeypatch.setattr("nsm.data.load", lambda *_, **__: splits)
    folder = tmp_path / "run"
    small = ("epochs=1", "batch_size=8", "eval_samples=1")
    result = nsm("train", recipe, *small, "--run", folder, "--samples", 2)
    assert result.exit_code == 0, result.output
    assert_self_contained(Page((folder / "report.html").read_text()))
    path = tmp_path / "photograph.png"
    Image.fromarray(splits.test.images[0].permute(1, 2, 0).numpy()).save(path)
    said = one_object(nsm("predict", folder, path, "--samples", 2, "--json"))
    assert said["predictions"][0]["class"] in splits.test.classes
