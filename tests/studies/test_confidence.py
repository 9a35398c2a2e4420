"""The study's parts on untrained networks: what is compared with what, and how often."""

import itertools
import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

import nsm
from nsm import models
from nsm.cli import app
from nsm.data import ImageSet
from nsm.report.shifts import ShiftCurve, shift_picture
from nsm.rivals import Ensemble, mc_dropout
from nsm.studies import confidence, confidence_subjects, confidence_tables, method, runs, shifts
from nsm.studies.cost import cost
from nsm.studies.tables import render

DIGITS = tuple("0123456789")


def images(count: int = 12, size: int = 28, channels: int = 1, name: str = "mnist") -> ImageSet:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, channels, size, size), generator=generator, dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(count) % 10, DIGITS, name)


def test_every_network_learns_the_same_images_in_the_same_way(tmp_path):
    jobs = confidence_subjects.jobs(tmp_path, network="mnist-cnn", seeds=2)
    names = [f"{job.label}-{job.config.training.seed}" for job in jobs]
    kinds = {"bnsm-centered": 2, "twin-dropout-centered": 2, "twin-centered": 6, "bnsm": 1, "twin": 1}
    kinds["bnsm-population-centered"] = 1
    assert names == [f"{kind}-{i}" for kind, count in kinds.items() for i in range(count)]
    assert len({job.folder for job in jobs}) == len(jobs)
    for job in jobs:
        assert job.config.network.overrides.get("centered", False) == ("centered" in job.label)
        assert job.config.data == jobs[0].config.data
        assert job.config.augmentation == jobs[0].config.augmentation
        # Where the network starts is its own matter.
        own = {"seed": job.config.training.seed, "spread": job.config.training.spread}
        assert job.config.training == replace(jobs[0].config.training, **own)
    assert jobs[2].config.network.model == "twin-dropout"
    assert runs.missing(jobs) == jobs
    jobs[0].folder.mkdir(parents=True)
    models.save(models.build("mnist-cnn"), jobs[0].folder)
    assert runs.missing(jobs) == jobs[1:]


@pytest.mark.parametrize("channels", [1, 3])
def test_every_shift_at_every_strength(channels):
    some = images(channels=channels)
    found = list(shifts.known(some))
    assert len(found) == 7 + 25
    assert torch.equal(found[0].images.images, some.images)  # not turned
    assert torch.equal(found[6].images.images, some.images.flip(2, 3))  # by 180 degrees
    for one in found[7:]:
        assert torch.equal(one.images.targets, some.targets)
        assert not torch.equal(one.images.images, some.images)
    # A stronger corruption changes more.
    for name in shifts.CORRUPTIONS:
        change = [
            float((one.images.images.float() - some.images.float()).square().mean())
            for one in found
            if one.name == name
        ]
        assert all(weak < strong for weak, strong in itertools.pairwise(change)), name


def test_shifts_are_functions_of_an_images_place():
    some, fewer = list(shifts.known(images())), list(shifts.known(images().subset(torch.arange(3))))
    for all_of_them, part in zip(some, fewer, strict=True):
        assert torch.equal(all_of_them.images.images[:3], part.images.images)
    assert torch.equal(shifts.any_angle(images()).images, shifts.any_angle(images()).images)


def test_unknown_images_are_those_that_are_there(tmp_path):
    assert [one.name for one in shifts.unknown(images(), 5, tmp_path)] == ["uniform noise"]
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    record = bytes([3]) + bytes([30] * 1024 + [60] * 1024 + [90] * 1024)
    (folder / "test_batch.bin").write_bytes(record * 3 + record[:100])
    first, second = shifts.unknown(images(), 5, tmp_path)
    assert (first.name, len(first.images), second.name, len(second.images)) == (
        "CIFAR-10, grey",
        3,
        "uniform noise",
        5,
    )
    assert first.images.images.unique().tolist() == [60]
    assert not first.is_known
    assert 100 < second.images.images.float().mean() < 155


def test_digits_are_unknown_to_a_network_of_photographs(tmp_path, monkeypatch):
    digits = images(7)
    monkeypatch.setattr(shifts.data, "is_present", lambda name, root: name == "mnist")
    monkeypatch.setattr(shifts.data, "load", lambda name, root: nsm.data.Splits(digits, digits, digits))
    photographs = images(5, 32, channels=3, name="cifar10")
    first, second = shifts.unknown(photographs, 5, tmp_path)
    assert (first.name, second.name) == ("MNIST", "uniform noise")
    assert first.images.images.shape == second.images.images.shape == (5, 3, 32, 32)
    framed = torch.zeros(5, 32, 32, dtype=torch.uint8)
    framed[:, 2:30, 2:30] = digits.images[:5, 0]
    assert all(torch.equal(first.images.images[:, channel], framed) for channel in range(3))
    assert [one.name for one in shifts.unknown(images(5, 8), 5, tmp_path)] == ["uniform noise"]
    assert shifts._fitting(digits.images, (1, 8, 8)) is None


def test_photographs_have_their_own_kinds(tmp_path):
    jobs = confidence_subjects.jobs(tmp_path, network="cifar10-allconv-third", seeds=1)
    kinds = {"bnsm-population": 1, "twin-dropout": 1, "twin": 5}
    assert [job.label for job in jobs] == [kind for kind, count in kinds.items() for _ in range(count)]
    assert [job.config.network.model for job in jobs[:3]] == ["nsm", "twin-bn-dropout", "twin-bn"]
    assert {job.config.data.validation for job in jobs} == {2000}
    assert len({(job.config.training.epochs, job.config.augmentation) for job in jobs}) == 1
    for job in jobs:
        job.folder.mkdir(parents=True)
        models.save(models.build(job.config.network.name, model=job.config.network.model), job.folder)
    nets = confidence.trained(jobs, 0)
    assert len(nets.twins) == 5
    assert not nets.beside
    assert len(confidence.methods(nets, images(3, 32, channels=3))) == 7
    with pytest.raises(ValueError, match=r"network must be one of mnist-cnn, .*, got 'mnist-mlp'"):
        confidence_subjects.jobs(tmp_path, network="mnist-mlp", seeds=1)


def test_costs_are_counted():
    x = torch.rand(1, 1, 8, 8)
    twin = nsm.models.build("digits-mlp", model="twin")
    layers = (64 * 256, 256 * 128, 128 * 10)
    assert cost(twin, x, 1) == (sum(layers), 0)
    assert cost(Ensemble([twin, twin, twin]), x, 3) == (3 * sum(layers), 0)
    # The first layer's real inputs give a mean and a variance, once for all samples.
    for centered in (False, True):
        net = nsm.models.build("digits-mlp", centered=centered)
        assert cost(net, x, 5) == (2 * layers[0] + 5 * (layers[1] + layers[2]), 24 * 5 * (256 + 128))
    three = nsm.models.build("digits-mlp", population=3)
    assert cost(three, x, 5) == (2 * layers[0] + 5 * (layers[1] + layers[2]), 3 * 24 * 5 * (256 + 128))
    dropout = mc_dropout(nsm.models.build("digits-mlp", model="twin-dropout"))
    assert cost(dropout, x, 5) == (layers[0] + 5 * (layers[1] + layers[2]), 24 * 5 * (256 + 128))


def test_rows_of_all_methods_make_the_tables():
    torch.manual_seed(0)

    def build(model):
        return nsm.models.build("mnist-cnn", model=model)

    beside = [("not centered", build("nsm")), ("not centered", build("twin"))]
    nets = confidence.Trained(build("nsm"), build("twin-dropout"), [build("twin")] * 5, beside)
    some = images(6)
    compared = confidence.methods(nets, some)
    kinds = [shifts.Shifted("rotation", "rotation", 0, some), shifts.Shifted("unknown", "noise", 0, some)]
    rows = [confidence._under_shift(0, method, 0.5, kind, some) for method in compared for kind in kinds]
    assert all(row["milliseconds"] > 0 for row in rows)
    same = [row["auroc_entropy"] for row in rows if row["set"] == "unknown"]
    assert same == [0.5] * len(compared)
    assert all(row["temperature"] == 0.5 and row["tempered_nll"] != row["nll"] for row in rows[::2])
    _, known_cells = confidence_tables.shift_table(rows)
    _, unknown_cells = confidence_tables.unknown_table(rows)
    assert [cells[1] for cells in known_cells] == [method.name for method in compared]
    headings, layers = confidence_tables.layers_table(rows)
    assert headings[2:] == [f"{what} in layer {i}, %" for what in ("undecided", "common") for i in (1, 2, 3)]
    machines = ["NSM, 100 samples", "NSM, not centered, 100 samples"]
    assert [cells[:2] for cells in layers] == [[name, m] for m in machines for name in ("rotation", "noise")]
    assert all(0 <= float(cell) <= 100 for cells in layers for cell in cells[2:])
    assert [cells[:2] for cells in unknown_cells] == [["noise", method.name] for method in compared]
    picture = shift_picture(confidence_tables.curves(rows))
    assert picture.startswith(b"\x89PNG")


def test_methods_are_those_of_the_networks_there_are():
    net = nsm.models.build("mnist-cnn")

    def names(**nets):
        return [way.name for way in confidence.methods(confidence.Trained(**nets), images(6))]

    assert names() == []
    assert names(beside=[("fresh", net)]) == [
        "NSM, fresh, 100 samples",
        "NSM, fresh, one pass over marginals",
    ]
    assert names(nsm=net)[-1] == "NSM, one pass over marginals"
    twin = nsm.models.build("mnist-cnn", model="twin")
    assert names(beside=[("fresh", twin)]) == ["deterministic, fresh"]
    assert names(twins=[twin] * 5) == ["deterministic", "ensemble of 5", "last-layer Laplace, 100 samples"]


def test_only_kinds_that_are_asked_for_are_trained(tmp_path):
    kinds = ["bnsm", "bnsm-centered", "bnsm-population-centered"]
    jobs = confidence_subjects.jobs(tmp_path, network="mnist-cnn", seeds=2, kinds=kinds)
    assert [(job.label, job.config.training.seed) for job in jobs] == [
        ("bnsm-centered", 0),
        ("bnsm-centered", 1),
        ("bnsm", 0),
        ("bnsm-population-centered", 0),
    ]
    assert jobs[-1].config.network.overrides["population"] == 8
    all_of_them = confidence_subjects.jobs(tmp_path, network="mnist-cnn", seeds=2)
    assert [job for job in all_of_them if job.label.startswith("bnsm")] == jobs
    with pytest.raises(ValueError, match=r"kind must be one of bnsm-centered, .*, got 'ensemble'"):
        confidence_subjects.jobs(tmp_path, network="mnist-cnn", seeds=2, kinds=["ensemble"])


def test_one_pass_over_marginals_draws_nothing():
    way = method.Method("pass", models.build("mnist-cnn").eval(), {"samples": 1}, "marginal")
    some = images(6)
    said, _ = way.predict(some)
    assert torch.equal(said.mutual_information, torch.zeros(6))
    with nsm.fidelity("marginal"):
        assert torch.equal(said.probabilities, way.net(some.batch(torch.arange(6))[0]).softmax(1))
    row = confidence._under_shift(0, way, 1.0, shifts.Shifted("none", "none", 0, some), some)
    assert row["random_bits"] == 0
    assert "undecided_1" not in row
    drawn = cost(way.net, some.batch(torch.arange(1))[0], 1)
    assert drawn.random_bits > 0
    assert drawn.products < row["products"] < 2 * drawn.products


def test_a_temperature_is_that_of_the_largest_likelihood():
    torch.manual_seed(0)
    way = method.Method("twin", models.build("mnist-cnn", model="twin").eval(), {"samples": 1})
    some = images(50)
    probs = way.predict(some)[0].probabilities
    assert way.fitted_temperature(some) == nsm.inference.fit_temperature(probs, some.targets)


def test_curves_are_means_over_seeds():
    row = {"name": "rotation", "method": "m", "strength": 30, "nll": 1.0, "ece": 0.1}
    rows = [row | {"error_percent": value} for value in (1.0, 3.0)]
    assert confidence_tables.curves(rows)["Error (%)"] == {"m": ShiftCurve([30], [2.0])}


@pytest.mark.data
@pytest.mark.slow
def test_the_whole_study(data_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(method.UNTIL_SETTLED, "max_samples", 20)
    monkeypatch.setitem(confidence._FIXED, "samples", 10)
    monkeypatch.setattr(shifts, "ANGLES", (0, 90))
    monkeypatch.setattr(shifts, "CORRUPTIONS", {"blur": shifts._blur})
    monkeypatch.setattr(confidence, "_LEARNED", 100)
    monkeypatch.setattr(method, "_FITTED_TO", 20)
    jobs = confidence_subjects.jobs(tmp_path, network="mnist-cnn", seeds=1)
    for job in jobs:
        job.folder.mkdir(parents=True)
        network = job.config.network
        options = {"binarize": True, **network.overrides}
        models.save(models.build("mnist-cnn", model=network.model, **options), job.folder)
    real = nsm.data.load

    def few(*arguments, **keywords):
        splits = real(*arguments, **keywords)
        eight = torch.arange(8)
        return splits._replace(test=splits.test.subset(eight), validation=splits.validation.subset(eight))

    monkeypatch.setattr("nsm.studies.confidence.data.load", few)
    picture = tmp_path / "pictures" / "shifts.png"
    command = ["reproduce", "confidence", "--runs", tmp_path, "--seeds", 1, "--images", 6, "--quiet"]
    command += ["--data-dir", data_folder, "--picture", picture]
    result = CliRunner().invoke(app, list(map(str, command)))
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "confidence.json").read_text())
    rows = content["rows"]
    assert content["study"] == "confidence"
    assert result.stdout == f"{len(rows)} rows: {tmp_path / 'confidence.json'}\n"
    assert {row["set"] for row in rows} == {"none", "rotation", "corruption", "unknown"}
    assert picture.read_bytes().startswith(b"\x89PNG")
    for name in ("confidence-shift", "confidence-layers", "confidence-unknown"):
        assert render(name, tmp_path).count("\n") > 3
