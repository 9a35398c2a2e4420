"""The published comparison on MNIST [N19]: Neural Sampling Machines, their conventional twin, and other ways
of training the same network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nsm import evaluate
from nsm.data import Splits
from nsm.models import Network
from nsm.studies import results, runs
from nsm.studies.kinds import Kind
from nsm.studies.results import Row
from nsm.training import Config, load_recipe, with_overrides

STUDY = "mnist"
SAMPLES = 100
_SEED = 0


# Conventional networks as they are usually built: grey levels instead of binarized pixels, maximum pooling.
_CONVENTIONAL = ("binarize=false", "pooling=max")
KINDS: Mapping[str, Kind] = {
    "bnsm": Kind("NSM, Bernoulli noise", ("model=nsm", "noise=bernoulli:0.5"), 0.775),
    "gnsm": Kind("NSM, Gaussian noise", ("model=nsm", "noise=gaussian:1.0"), 0.805),
    "twin": Kind("conventional twin (ReLU)", ("model=twin", *_CONVENTIONAL), 0.880),
    "bn": Kind("deterministic sign, gradient of erf (BN)", ("model=bn", *_CONVENTIONAL), 1.10),
    "sn": Kind("noisy rectifier (SN)", ("model=sn", *_CONVENTIONAL), 2.05),
    "ste": Kind("NSM, straight-through (STE)", ("model=ste", "noise=bernoulli:0.5"), 2.13),
    "wbd": Kind("deterministic sign, weight norm (wBD)", ("model=wbd", *_CONVENTIONAL), 2.72),
    "bd": Kind("deterministic sign, straight-through (BD)", ("model=bd", *_CONVENTIONAL), 3.11),
}
NETWORKS: Mapping[str, tuple[str, ...]] = {
    "mnist-cnn": tuple(KINDS),
    "mnist-mlp": ("bnsm", "gnsm", "twin"),
}


def configuration(network: str, kind: str, *, seed: int, epochs: int | None = None) -> Config:
    """One run: the network's recipe with this kind of neuron, on all 60,000 training images.

    Recipes were chosen on 5,000 to 10,000 held-out training images, which the reported runs learn as well.

    Raises:
        ValueError: if network, kind, seed or epochs is unknown or impossible.
    """
    _check_network(network)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    overrides = [*KINDS[kind].overrides, f"training.seed={seed}", "validation=0"]
    if epochs is not None:
        overrides.append(f"epochs={epochs}")
    return with_overrides(load_recipe(network), overrides)


def _check_network(network: str) -> None:
    if network not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got {network!r}")


def jobs(
    folder: Path,
    *,
    networks: Sequence[str] = tuple(NETWORKS),
    kinds: Sequence[str] | None = None,
    seeds: int = 3,
    epochs: int | None = None,
) -> list[runs.Job]:
    """Every run of the comparison, seed by seed, so that what finishes first is a whole comparison.

    Args:
        folder: where the run folders lie, one for each network, kind and seed.
        networks: of :data:`NETWORKS`.
        kinds: of :data:`KINDS`; None for all that a network is compared in.
        seeds: seeds 0 .. seeds - 1.
        epochs: None for the recipe's.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    for network in networks:
        _check_network(network)
    chosen = [
        (seed, network, kind)
        for seed in range(seeds)
        for network in networks
        for kind in (NETWORKS[network] if kinds is None else kinds)
    ]
    return [
        runs.Job(
            kind,
            configuration(network, kind, seed=seed, epochs=epochs),
            folder / f"{network}-{kind}-{seed}" / str(epochs or "recipe"),
        )
        for seed, network, kind in chosen
    ]


def score(_job: runs.Job, net: Network, splits: Splits) -> dict[str, Any]:
    """Test error, likelihood and calibration of 100 samples."""
    return evaluate(net, splits.test, samples=SAMPLES, seed=_SEED).to_dict()


def table(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """Mean and spread over seeds for each network and kind, with the published error of the CNN."""
    summary = results.summarize(rows, ["network", "model", "epochs"], "error_percent")
    order = {kind: i for i, kind in enumerate(KINDS)}
    summary.sort(key=lambda row: (row["network"], order[row["model"]]))
    for row in summary:
        kind = KINDS[row["model"]]
        row["title"] = kind.title
        row["published"] = kind.published if row["network"] == "mnist-cnn" else None
    return summary
