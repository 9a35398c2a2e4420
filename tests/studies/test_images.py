"""The comparisons on images: kinds that start from another one's run."""

from pathlib import Path

import pytest

from nsm.studies.comparisons import COMPARISONS

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
