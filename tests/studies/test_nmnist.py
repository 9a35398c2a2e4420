"""The study of N-MNIST: which runs it makes, what it counts, and all of it in small."""

import json
from pathlib import Path

import pytest

from nsm import data
from nsm.models import build
from nsm.studies import nmnist, nmnist_table
from nsm.studies.tables import render
from tests.data.events.recordings import lay_out_nmnist


def parted(jobs):
    """The runs on simulated recordings, which come first, and all others."""
    simulated = [job for job in jobs if nmnist.regime_of(job.config) == "simulated"]
    assert jobs[: len(simulated)] == simulated
    return simulated, jobs[len(simulated) :]


@pytest.fixture
def stages(tmp_path):
    lay_out_nmnist(tmp_path)
    return parted(nmnist.jobs(Path("runs"), seeds=2, root=tmp_path))


def test_simulated_recordings_are_learnt_first_and_every_part_is_held_out_once(stages):
    first, then = stages
    assert all(job.config.data.unrecorded for job in first)
    assert len(first) == 2 * 2
    assert len(then) == 2 * 2 * 2 * (nmnist.Size().folds + 1)
    assert len({job.folder for job in first + then}) == len(first + then)
    for regime in ("alone", "adapted"):
        for kind in nmnist.KINDS:
            mine = [job for job in then if job.label == kind and nmnist.regime_of(job.config) == regime]
            folds = sorted(str(job.config.data.fold) for job in mine if job.config.training.seed == 1)
            assert folds == ["(0, 4)", "(1, 4)", "(2, 4)", "(3, 4)", "None"]
            assert all(job.config.data.fold or job.config.data.validation == 0 for job in mine)


def test_adapted_networks_start_where_their_own_kind_and_seed_ended(stages):
    first, then = stages
    ended = {(job.label, job.config.training.seed): str(job.folder) for job in first}
    adapted = [job for job in then if job.config.training.start is not None]
    assert len(adapted) == len(then) // 2
    for job in adapted:
        assert job.config.training.start == ended[job.label, job.config.training.seed]


def test_a_network_and_its_twin_learn_the_same_with_the_same_effort(stages):
    def described(job):
        config = job.config.to_dict()
        training = {key: value for key, value in config["training"].items() if key != "start"}
        return config["data"], config["augmentation"], training

    sides = [
        [described(job) for stage in stages for job in stage if job.label == kind] for kind in nmnist.KINDS
    ]
    assert sides[0] == sides[1]
    shapes = [
        [
            parameter.shape
            for parameter in build("nmnist-cnn", model=model).parameters()
            if parameter.dim() > 1
        ]
        for model in ("nsm", "twin")
    ]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("regimes", "counts"), [(["alone"], [0, 10]), (["simulated"], [2, 0]), (["adapted"], [2, 10])]
)
def test_what_is_adapted_needs_what_is_simulated(tmp_path, regimes, counts):
    lay_out_nmnist(tmp_path)
    assert [len(jobs) for jobs in parted(nmnist.jobs(tmp_path, regimes=regimes, root=tmp_path))] == counts
    first, then = parted(nmnist.jobs(tmp_path, regimes=regimes, kinds=["twin"], root=tmp_path))
    assert [len(first), len(then)] == [count // 2 for count in counts]
    assert {job.label for job in first + then} == {"twin"}
    for job in first:
        job.folder.mkdir(parents=True)
        (job.folder / "model.safetensors").write_bytes(b"")
    first, _ = parted(nmnist.jobs(tmp_path, regimes=regimes, kinds=["twin"], root=tmp_path))
    assert len(first) == ("simulated" in regimes)


def test_impossible_choices_are_refused(tmp_path):
    with pytest.raises(ValueError, match="regime must be one of alone, simulated, adapted, got 'real'"):
        nmnist.jobs(tmp_path, regimes=["real"], root=tmp_path)
    with pytest.raises(ValueError, match="kind must be one of bnsm, twin, got 'nsm'"):
        nmnist.jobs(tmp_path, kinds=["nsm"], root=tmp_path)
    with pytest.raises(ValueError, match="seeds must be at least 1, got 0"):
        nmnist.jobs(tmp_path, seeds=0, root=tmp_path)
    with pytest.raises(data.DataError, match="has to be fetched by hand"):
        nmnist.jobs(tmp_path / "runs", root=tmp_path)


def row(regime, model, fold, error, n, **more):
    return {
        "regime": regime, "model": model, "fold": fold, "seed": 0, "epochs": 2, "learnt": 30,
        "error_percent": error, "n": n, **more,
    }  # fmt: skip


def test_errors_are_pooled_over_the_parts(tmp_path):
    rows = [
        row("adapted", "bnsm", 1, 0.0, 30),
        row("adapted", "bnsm", None, 3.0, 100),
        row("adapted", "bnsm", 0, 10.0, 10),
        row("simulated", "twin", None, 1.0, 1000, recorded_n=40, recorded_error_percent=5.0),
    ]
    simulated, adapted = nmnist_table.table(rows)
    assert (adapted["recorded"], adapted["test"], adapted["simulated"]) == (2.5, 3.0, None)
    assert (simulated["recorded"], simulated["test"], simulated["simulated"]) == (5.0, None, 1.0)
    (tmp_path / "nmnist.json").write_text(json.dumps({"rows": rows}))
    assert render("nmnist", tmp_path).count("\n") == 4
    folds = [entry["fold"] for entry in nmnist_table.ordered(rows)]
    assert folds == [None, None, 0, 1]
