"""The published comparison on MNIST [N19]: Neural Sampling Machines, their conventional twin, and other ways
of training the same network.
"""

from __future__ import annotations

from collections.abc import Mapping

from nsm.studies import images
from nsm.studies.kinds import POPULATION, Kind

# Conventional networks as they are usually built: grey levels instead of binarized pixels, maximum pooling.
_CONVENTIONAL = ("binarize=false", "pooling=max")
KINDS: Mapping[str, Kind] = {
    "bnsm": Kind("NSM, Bernoulli noise", ("model=nsm", "noise=bernoulli:0.5"), 0.775),
    "gnsm": Kind("NSM, Gaussian noise", ("model=nsm", "noise=gaussian:1.0"), 0.805),
    "bnsm-marginal": Kind(
        "NSM, Bernoulli noise, learnt as marginals", ("model=nsm", "noise=bernoulli:0.5", "marginals=1.0")
    ),
    **POPULATION,
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

MNIST = images.Comparison("mnist", "MNIST", KINDS, NETWORKS, published="mnist-cnn")
STUDY = MNIST.study
configuration, jobs, table = MNIST.configuration, MNIST.jobs, MNIST.table

# The published table of ways to train one network: that of the comparison without its twin.
TRAINING_METHODS = images.Comparison(
    "training-methods",
    "MNIST",
    KINDS,
    {"mnist-cnn": tuple(name for name, kind in KINDS.items() if name != "twin" and kind.published)},
    published="mnist-cnn",
)
