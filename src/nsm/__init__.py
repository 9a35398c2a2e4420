"""Neural Sampling Machines: binary threshold neurons whose synapses carry always-on multiplicative noise."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nsm import (
        data,
        engine,
        functional,
        inference,
        measures,
        models,
        nn,
        noise,
        rivals,
        streams,
        training,
    )
    from nsm.engine import Program, compile  # noqa: A004
    from nsm.inference.evaluate import Evaluation, evaluate
    from nsm.inference.fit import fit_margin_noise
    from nsm.inference.predict import predict
    from nsm.inference.prediction import Prediction
    from nsm.inference.reasons import Reason
    from nsm.inference.sequential import predictions
    from nsm.inference.settling import MarginNoise
    from nsm.models import load, save
    from nsm.nn.context import fidelity
    from nsm.nn.convert import convert
    from nsm.noise import Bernoulli, Gaussian, Measured, NoiseLaw

__all__ = [
    "Bernoulli",
    "Evaluation",
    "Gaussian",
    "MarginNoise",
    "Measured",
    "NoiseLaw",
    "Prediction",
    "Program",
    "Reason",
    "compile",
    "convert",
    "data",
    "engine",
    "evaluate",
    "fidelity",
    "fit_margin_noise",
    "functional",
    "inference",
    "load",
    "measures",
    "models",
    "nn",
    "noise",
    "predict",
    "predictions",
    "rivals",
    "save",
    "streams",
    "training",
]

# Loaded at first use: torch takes seconds, and the command line must answer without it.
_PLACES = {
    "Bernoulli": "nsm.noise",
    "Evaluation": "nsm.inference",
    "Gaussian": "nsm.noise",
    "MarginNoise": "nsm.inference",
    "Measured": "nsm.noise",
    "NoiseLaw": "nsm.noise",
    "Prediction": "nsm.inference",
    "Program": "nsm.engine",
    "Reason": "nsm.inference",
    "compile": "nsm.engine",
    "convert": "nsm.nn",
    "data": "nsm",
    "engine": "nsm",
    "evaluate": "nsm.inference",
    "fidelity": "nsm.nn",
    "fit_margin_noise": "nsm.inference",
    "functional": "nsm",
    "inference": "nsm",
    "load": "nsm.models",
    "measures": "nsm",
    "models": "nsm",
    "nn": "nsm",
    "noise": "nsm",
    "predict": "nsm.inference",
    "predictions": "nsm.inference",
    "rivals": "nsm",
    "save": "nsm.models",
    "streams": "nsm",
    "training": "nsm",
}


if not TYPE_CHECKING:  # a checker is to refuse what is not imported above

    def __getattr__(name: str) -> object:
        if name not in _PLACES:
            raise AttributeError(f"module 'nsm' has no attribute {name!r}")
        place = _PLACES[name]
        if place == "nsm":
            return importlib.import_module(f"nsm.{name}")
        value = globals()[name] = getattr(importlib.import_module(place), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
