"""The comparisons on images: kinds that start from another one's run."""

from pathlib import Path

import pytest
import torch

import nsm
from nsm import models
from nsm.studies import images, images_report
from nsm.studies.comparisons import COMPARISONS
from tests.training.sets import made_up

CIFAR10 = COMPARISONS["cifar10"]


def test_a_kind_that_starts_from_its_twin_brings_the_twin_along():
    jobs = CIFAR10.jobs(Path("runs"), networks=["cifar10-allconv"], kinds=["gnsm-from-twin"], seeds=2)
    by_seed = {(job.label, job.config.training.seed): job for job in jobs}
    assert set(by_seed) == {(kind, seed) for kind in ("gnsm-from-twin", "twin") for seed in range(2)}
    for seed in range(2):
        twin, follower = by_seed["twin", seed], by_seed["gnsm-from-twin", seed]
        assert follower.config.training.start == str(twin.folder)
        assert twin.config.training.start is None
        assert follower.config.training.epochs == twin.config.training.epochs


def test_fresh_kinds_start_from_nothing():
    jobs = CIFAR10.jobs(Path("runs"), kinds=["bnsm", "twin"], seeds=1)
    assert {job.label for job in jobs} == {"bnsm", "twin"}
    assert all(job.config.training.start is None for job in jobs)


@pytest.mark.parametrize("kind", ["bnsm-from-twin", "gnsm-from-twin"])
def test_published_errors_of_both_starts_are_in_the_table(kind):
    row = {"network": "cifar10-allconv", "model": kind, "seed": 0, "epochs": 40, "error_percent": 12.0}
    (shown,) = CIFAR10.table([row])
    assert shown["published"] == {"bnsm-from-twin": 9.94, "gnsm-from-twin": 9.81}[kind]
    assert "from the trained twin" in shown["title"]


def test_published_ways_of_training_are_those_of_the_paper():
    compared = COMPARISONS["training-methods"].networks["mnist-cnn"]
    assert compared == ("bnsm", "gnsm", "bn", "sn", "ste", "wbd", "bd")


@pytest.mark.parametrize("kind", ["bnsm", "bnsm-marginal", "twin"])
def test_a_machine_is_scored_by_one_pass_over_marginals_as_well(kind):
    comparison = COMPARISONS["fashion-mnist"]
    (job,) = comparison.jobs(Path("runs"), networks=["mnist-mlp"], kinds=[kind], seeds=1, epochs=1)
    splits = made_up("fashion-mnist")
    model = "twin" if kind == "twin" else "nsm"
    net = models.build("mnist-mlp", model=model, noise=nsm.Bernoulli(0.5) if model == "nsm" else None)
    row = images.score(job, net, splits, samples=2)
    row |= {"network": "mnist-mlp", "model": kind, "seed": 0, "epochs": 1}
    lines = images_report.cells(comparison, [row])
    if kind == "twin":
        assert len(lines) == 1
        return
    with nsm.fidelity("marginal"):
        passed = nsm.evaluate(net, splits.test)
    assert row["marginal_nll"] == passed.nll != row["nll"]
    sampled, once = lines
    assert sampled[5:7] == [f"{row['nll']:.4f}", f"{row['ece']:.4f}"]
    assert once[5:7] == [f"{passed.nll:.4f}", f"{passed.ece:.4f}"]
    assert once[1] == f"{sampled[1]}: one pass over marginals"


@pytest.mark.parametrize("kind", ["bnsm-population", "twin"])
def test_what_learnt_mirrored_images_is_scored_with_them(kind):
    (job,) = CIFAR10.jobs(Path("runs"), networks=["cifar10-allconv-third"], kinds=[kind], seeds=1, epochs=1)
    splits = made_up("cifar10")
    net = models.build("cifar10-allconv-third", model="twin-bn" if kind == "twin" else "nsm")
    row = images.score(job, net, splits, samples=3)
    pixels, targets = splits.test.batch(torch.arange(len(splits.test)))
    seen = nsm.predict(net, pixels, samples=2, seed=0), nsm.predict(net, pixels.flip(-1), samples=2, seed=1)
    mean = (seen[0].probabilities + seen[1].probabilities) / 2
    assert row["mirrored_error_percent"] == 100 * float((mean.argmax(1) != targets).double().mean())
    assert row["mirrored_nll"] == pytest.approx(
        -float(mean.log()[range(len(mean)), targets].mean()), rel=1e-4
    )
    assert row["mirrored_nll"] != row["nll"]
    row |= {"network": "cifar10-allconv-third", "model": kind, "seed": 0, "epochs": 1}
    line = images_report.cells(CIFAR10, [row])[-1]
    assert line[1].endswith(": with mirrored images")
    assert line[5] == f"{row['mirrored_nll']:.4f}"
