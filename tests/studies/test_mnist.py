from pathlib import Path

import pytest

from nsm import noise
from nsm.models import MODELS, build
from nsm.studies import learning, mnist
from nsm.training import Config


@pytest.mark.parametrize("network", mnist.NETWORKS)
def test_every_kind_differs_from_its_twin_in_what_it_is_named_for_alone(network: str) -> None:
    twin = mnist.configuration(network, "twin", seed=1)
    for kind in mnist.NETWORKS[network]:
        config = mnist.configuration(network, kind, seed=1)
        assert config.data == twin.data
        assert config.augmentation == twin.augmentation
        assert (config.training.epochs, config.training.batch_size) == (
            twin.training.epochs,
            twin.training.batch_size,
        )
        # The norms that weight normalization keeps have the dimensions of a weight, but are none.
        assert products(config) == products(twin)


def products(config: Config) -> list[tuple[int, ...]]:
    net = build(config.network.name, model=config.network.model, noise=config.network.noise)
    named = net.named_parameters()
    return [tuple(p.shape) for name, p in named if p.dim() > 1 and not name.endswith("original0")]


def test_kinds_and_laws() -> None:
    def law(kind: str) -> noise.NoiseLaw | None:
        return mnist.configuration("mnist-cnn", kind, seed=0).network.noise

    assert law("bnsm") == noise.Bernoulli(0.5)
    assert law("gnsm") == noise.Gaussian(1.0)
    models = {mnist.configuration("mnist-cnn", kind, seed=0).network.model for kind in mnist.KINDS}
    assert models == {"nsm", "twin", "bn", "sn", "ste", "wbd", "bd"} <= set(MODELS)


def test_reported_runs_learn_all_images_and_lie_in_folders_of_their_own() -> None:
    jobs = mnist.jobs(Path("runs"), seeds=2)
    assert len(jobs) == 2 * (10 + 3) == len({job.folder for job in jobs})
    assert all(job.config.data.validation == 0 for job in jobs)
    assert {job.config.training.seed for job in jobs} == {0, 1}
    shorter = mnist.jobs(Path("runs"), networks=["mnist-mlp"], kinds=["twin"], seeds=1, epochs=2)
    assert [job.config.training.epochs for job in shorter] == [2]
    assert not {job.folder for job in shorter} & {job.folder for job in jobs}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"network": "mnist", "kind": "twin"}, "network must be one of mnist-cnn, mnist-mlp, got 'mnist'"),
        ({"network": "mnist-mlp", "kind": "cnn"}, "kind must be one of bnsm, gnsm, .*, got 'cnn'"),
    ],
)
def test_unknown_choices_are_refused(arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mnist.configuration(**arguments, seed=0)


def test_only_kinds_that_a_network_is_compared_in_are_trained() -> None:
    jobs = mnist.jobs(Path("runs"), kinds=["twin", "sn"], seeds=1)
    assert [(job.config.network.name, job.label) for job in jobs] == [
        ("mnist-cnn", "twin"),
        ("mnist-cnn", "sn"),
        ("mnist-mlp", "twin"),
    ]
    with pytest.raises(ValueError, match="kind must be one that is compared, got twin; mnist-cnn: bnsm"):
        mnist.TRAINING_METHODS.jobs(Path("runs"), kinds=["twin"], seeds=1)


def test_the_table_averages_over_seeds_in_the_order_of_the_paper() -> None:
    def row(model: str, seed: int, error: float) -> dict[str, object]:
        return {
            "network": "mnist-cnn",
            "model": model,
            "seed": seed,
            "epochs": 3,
            "error_percent": error,
        }

    table = mnist.table([row("twin", 0, 1.0), row("bnsm", 0, 0.5), row("bnsm", 1, 0.7)])
    assert [line["model"] for line in table] == ["bnsm", "twin"]
    assert table[0]["mean"] == pytest.approx(0.6)
    assert (table[0]["count"], table[0]["published"]) == (2, 0.775)


def test_the_learning_study_never_sees_the_test_set() -> None:
    jobs = learning.jobs(Path("runs"), epochs=1)
    assert len({job.folder for job in jobs}) == len(learning.VARIANTS) == len(jobs)
    assert all(job.config.data.validation == learning.VALIDATION for job in jobs)
    changed = [job for job in jobs if job.config == jobs[0].config]
    assert [job.label for job in changed] == ["recipe"]
