import base64
import json
import re

import matplotlib as mpl
import numpy as np
import pytest
import torch

from nsm import evaluate
from nsm.models import build
from nsm.report import run_report, summary, write_run_report
from nsm.report.confusion import confusion_matrix, frequent
from nsm.report.curves import learning_curves
from nsm.report.words import counted, course
from nsm.training import Result, load_recipe
from tests.report.examples import epochs, images, record, scores
from tests.report.html import Page, assert_self_contained

LONG = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "$x", "<b>", "Ankle boot")


@pytest.fixture(scope="module")
def shown():
    return record()


@pytest.fixture(scope="module")
def text(shown):
    return run_report(shown)


def test_a_report_refers_to_nothing_outside_itself(text):
    parsed = Page(text)
    assert_self_contained(parsed)
    # Learning, two curves over samples, three of trust, confusions, and twelve images.
    assert len(parsed.images) == 19
    for image in parsed.images:
        kind, data = image["src"].split(",", 1)
        assert kind == "data:image/svg+xml;base64"
        svg = base64.b64decode(data).decode()
        assert "<script" not in svg
        assert not re.search(r'href="(?!#|data:image/png;base64,)', svg)


def test_its_numbers_are_those_of_the_evaluation(shown, text):
    evaluation = shown.evaluation
    parsed = Page(text)
    for number in (
        f"{evaluation.error_percent:.2f} %",
        f"{evaluation.curve[0].error_percent:.2f} %",
        f"{evaluation.nll:.4f}",
        f"{evaluation.ece:.4f}",
    ):
        assert number in parsed.texts
    assert ["training.lr", "0.002"] in parsed.cells
    assert ["commit", "abc"] in parsed.cells
    counts = evaluation.confusion.clone().fill_diagonal_(0)
    times = next(row for row in parsed.cells if row[0] in shown.images.classes)
    assert times == [*(str(int(i)) for i in (counts == counts.max()).nonzero()[0]), str(int(counts.max()))]


def test_the_most_uncertain_images_come_first(shown, text):
    captions = [part for part in Page(text).texts if part.startswith("True class")]
    said = [float(re.search(r"Entropy ([\d.]+) nats", caption).group(1)) for caption in captions]
    largest = shown.evaluation.prediction.entropy.sort(descending=True).values[:12]
    assert said == pytest.approx(largest.tolist(), abs=0.0051)


def test_the_same_record_gives_the_same_file_and_leaves_matplotlib_alone(shown, text):
    before = dict(mpl.rcParams)
    assert run_report(shown) == text
    assert dict(mpl.rcParams) == before


def test_names_are_escaped():
    parsed = Page(run_report(record("<i>run</i> & co", origin=[("<key>", "<value>")], images=images(2))))
    assert parsed.texts.count("<i>run</i> & co") == 2
    assert ["<key>", "<value>"] in parsed.cells


@pytest.mark.parametrize("model", ["nsm", "twin"])
def test_long_class_names_and_a_conventional_network(model):
    shown = images(3, LONG, "fashion-mnist")
    evaluation = scores(shown, model=model)
    parsed = Page(run_report(record(images=shown, evaluation=evaluation)))
    assert_self_contained(parsed)
    assert "Fashion-MNIST" in " ".join(parsed.texts)
    sampled = model == "nsm"
    assert ("With one sample" in parsed.texts) == sampled
    assert ("between samples" in " ".join(parsed.texts)) == sampled


def test_more_classes_than_a_matrix_has_room_for_numbers():
    counts = np.diag(np.full(26, 9))
    counts[3, 4] = 2
    letters = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert b"<svg" in confusion_matrix(counts, letters)
    assert frequent(counts, letters) == [("D", "E", 2)]


@pytest.mark.parametrize(
    "rows",
    [epochs(1), epochs(2, validated=False), [row._replace(train_error_percent=0.0) for row in epochs(2)]],
    ids=["one epoch", "no validation", "no training error"],
)
def test_short_and_unvalidated_runs(rows):
    assert b"<svg" in learning_curves(rows)
    words = course(rows)
    assert words.startswith(
        f"Error over {counted(len(rows), 'epoch')}, at the end {rows[-1].train_error_percent:.2f} %"
    )
    assert ("validation" in words) == (rows[-1].validation_error_percent is not None)


def test_epochs_without_errors():
    rows = [row._replace(train_error_percent=0.0, validation_error_percent=0.0) for row in epochs()]
    assert learning_curves(rows).startswith(b"<?xml")


def test_as_many_samples_as_an_image_needs():
    shown = images()
    evaluation = evaluate(build("digits-mlp"), shown, confidence=0.9, max_samples=20)
    mean = f"{evaluation.samples:.2f} samples"
    assert f"average of {mean}" in run_report(record(images=shown, evaluation=evaluation))
    assert f"with {mean}, NLL" in summary(evaluation)


def test_a_network_without_errors():
    shown = images(2)
    perfect = scores(shown)._replace(confusion=torch.diag(torch.full((10,), 4)), error_percent=0.0)
    text = run_report(record(evaluation=perfect, images=shown))
    assert "None: every test image is classified correctly." in text


def test_it_is_written_into_the_run_folder(tmp_path):
    config = load_recipe("digits")
    description = {"recipe": config.to_dict(), "versions": {"torch": "1.2.3"}}
    (tmp_path / "config.json").write_text(json.dumps(description))
    shown = images(2)
    path = write_run_report(Result(build("digits-mlp"), tuple(epochs()), tmp_path), scores(shown), shown)
    assert path == tmp_path / "report.html"
    cells = Page(path.read_text()).cells
    assert ["versions of the training", "torch: 1.2.3"] in cells
    assert ["commit of the training", "unknown"] in cells
    assert sorted(file.name for file in tmp_path.iterdir()) == ["config.json", "report.html"]


def test_a_summary_is_one_line():
    evaluation = scores(images())
    assert summary(evaluation) == (
        f"test error {evaluation.error_percent:.2f} % with 5 samples, "
        f"NLL {evaluation.nll:.4f} nats, ECE {evaluation.ece:.4f}"
    )
    assert "with 1 pass," in summary(scores(images(), model="twin"))
