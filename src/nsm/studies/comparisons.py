"""The comparisons on sets of images, by the name of their study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from nsm.studies import mnist
from nsm.studies.images import Comparison
from nsm.studies.kinds import POPULATION, Kind

_BERNOULLI, _GAUSSIAN = ("model=nsm", "noise=bernoulli:0.5"), ("model=nsm", "noise=gaussian:1.0")

# As published, whatever a network's own way is.
_SINGLE = ("population=1", "standardized=false")
_SINGLE_BERNOULLI = (*_BERNOULLI, *_SINGLE, "spread=2.0")
_SINGLE_GAUSSIAN = (*_GAUSSIAN, *_SINGLE, "spread=2.0")

_FASHION = {
    name: replace(mnist.KINDS[name], published=None)
    for name in ("bnsm", "gnsm", "bnsm-marginal", "bnsm-population", "twin")
}

_CIFAR10 = {
    "bnsm": Kind("NSM, Bernoulli noise", _SINGLE_BERNOULLI, 9.98),
    "gnsm": Kind("NSM, Gaussian noise", _SINGLE_GAUSSIAN, 10.35),
    "bnsm-marginal": Kind(
        "NSM, Bernoulli noise, learnt as marginals", (*_BERNOULLI, *_SINGLE, "marginals=1.0", "spread=1.0")
    ),
    **POPULATION,
    "bnsm-from-twin": Kind(
        "NSM, Bernoulli noise, from the trained twin", _SINGLE_BERNOULLI, 9.94, start="twin"
    ),
    "gnsm-from-twin": Kind(
        "NSM, Gaussian noise, from the trained twin", _SINGLE_GAUSSIAN, 9.81, start="twin"
    ),
    "twin": Kind("conventional twin (ReLU, batch norm)", ("model=twin-bn",), 10.47),
}

COMPARISONS: Mapping[str, Comparison] = {
    comparison.study: comparison
    for comparison in (
        mnist.MNIST,
        mnist.TRAINING_METHODS,
        Comparison(
            "fashion-mnist",
            "Fashion-MNIST",
            _FASHION,
            {"mnist-cnn": tuple(_FASHION), "mnist-mlp": tuple(_FASHION)},
            overrides=("data.set=fashion-mnist",),
        ),
        Comparison(
            "cifar10",
            "CIFAR-10",
            _CIFAR10,
            {
                "cifar10-allconv": tuple(_CIFAR10),
                "cifar10-allconv-third": (
                    "bnsm",
                    "bnsm-marginal",
                    "bnsm-population",
                    "bnsm-from-twin",
                    "twin",
                ),
                "cifar10-residual": ("bnsm-population", "twin"),
            },
            published="cifar10-allconv",
        ),
    )
}
