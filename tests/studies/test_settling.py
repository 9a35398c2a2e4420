"""As many samples as needed: what they are compared with, and the whole study in small."""

import json

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import nsm
from nsm import models
from nsm.cli import app
from nsm.inference import MarginNoise
from nsm.studies import method, settling
from nsm.studies.tables import render
from tests.studies.test_confidence import images


class Tied(nn.Module):
    """Clear images, and one in which two classes are nearly tied."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten, self.noisy = nn.Flatten(), nsm.nn.Linear(784, 40)
        self.top = nn.Linear(40, 10)

    def forward(self, x):
        return self.top(self.noisy(self.flatten(x)))


def test_the_reference_samples_only_what_is_in_doubt(monkeypatch):
    torch.manual_seed(0)
    net, asked = Tied(), []
    monkeypatch.setattr(settling, "_REFERENCE", (100, 400))

    def counted(*arguments, **keywords):
        asked.append((len(arguments[1]), keywords["samples"]))
        return nsm.predict(*arguments, **keywords)

    monkeypatch.setattr(settling, "predict", counted)
    leading = settling.reference(net, images(30), 20)
    assert asked[0] == (20, 100)
    assert asked[1][1] == 400
    assert 0 < asked[1][0] <= 20
    x, _ = images(30).batch(torch.arange(20))
    whole = nsm.predict(net, x, samples=400, seed=1)
    assert torch.equal(leading, whole.probabilities.argmax(1))


def test_a_row_says_what_settling_takes_and_whether_its_promise_is_kept():
    torch.manual_seed(0)
    net, some = models.build("mnist-cnn"), images(6)
    fixed = method.Method("fixed", net, {"samples": 100}).predict(some)
    leading = fixed[0].probabilities.argmax(1)[:4]
    found = settling.settled(net, some, fixed, leading, MarginNoise(0.01, 5.0), labelled=True)
    assert found["fixed_disagree_percent"] == 0.0
    assert (found["n"], found["compared"]) == (6, 4)
    wrong = fixed[0].probabilities.argmax(1) != some.targets
    assert found["fixed_error_percent"] == pytest.approx(100.0 * float(wrong.double().mean()))
    assert 1.0 <= found["median_samples"] <= found["p99_samples"] <= 1000.0


@pytest.mark.data
def test_the_whole_study(data_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(settling, "_REFERENCE", (200,))
    monkeypatch.setitem(method.UNTIL_SETTLED, "max_samples", 20)
    monkeypatch.setattr(method, "_FITTED_TO", 20)
    (job,) = settling.jobs(tmp_path, kind="bnsm", seeds=1)
    job.folder.mkdir(parents=True)
    models.save(models.build("mnist-cnn", binarize=True), job.folder)
    real = nsm.data.load

    def few(*arguments, **keywords):
        splits = real(*arguments, **keywords)
        return splits._replace(test=splits.test.subset(torch.arange(8)))

    monkeypatch.setattr("nsm.studies.settling.data.load", few)
    command = ["reproduce", "settling", "--runs", tmp_path, "--seeds", 1, "--images", 6, "--quiet"]
    result = CliRunner().invoke(app, list(map(str, [*command, "--data-dir", data_folder])))
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "settling.json").read_text())
    assert content["study"] == "settling"
    sets = {row["set"] for row in content["rows"]}
    assert sets >= {"MNIST", "rotated MNIST", "uniform noise"}
    assert len(content["rows"]) == 2 * len(sets)
    assert result.stdout.endswith(f"{tmp_path / 'settling.json'}\n")
    assert all(name in render("settling", tmp_path) for name in sets)


def test_populations_settle_too_and_other_kinds_are_refused(tmp_path):
    (job,) = settling.jobs(tmp_path, kind="bnsm-population", seeds=1)
    assert (job.label, job.config.network.overrides["population"]) == ("bnsm-population", 8)
    with pytest.raises(ValueError, match="kind must be one of bnsm, bnsm-population, got 'twin'"):
        settling.jobs(tmp_path, kind="twin", seeds=1)
