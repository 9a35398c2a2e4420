"""Neural Sampling Machines: binary threshold neurons whose synapses carry always-on multiplicative noise."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nsm import models, nn
    from nsm.engine import Program, compile  # noqa: A004
    from nsm.inference.evaluate import Evaluation, evaluate
    from nsm.inference.predict import Prediction, predict
    from nsm.models import load, save
    from nsm.nn.context import fidelity
    from nsm.nn.convert import convert
    from nsm.noise import Bernoulli, Gaussian, Measured, NoiseLaw

__all__ = [
    "Bernoulli",
    "Evaluation",
    "Gaussian",
    "Measured",
    "NoiseLaw",
    "Prediction",
    "Program",
    "compile",
    "convert",
    "evaluate",
    "fidelity",
    "load",
    "models",
    "nn",
    "predict",
    "save",
]

# Loaded at first use: torch takes seconds, and the command line must answer without it.
_PLACES = {
    "Bernoulli": "nsm.noise",
    "Evaluation": "nsm.inference",
    "Gaussian": "nsm.noise",
    "Measured": "nsm.noise",
    "NoiseLaw": "nsm.noise",
    "Prediction": "nsm.inference",
    "Program": "nsm.engine",
    "compile": "nsm.engine",
    "convert": "nsm.nn",
    "evaluate": "nsm.inference",
    "fidelity": "nsm.nn",
    "load": "nsm.models",
    "models": "nsm",
    "nn": "nsm",
    "predict": "nsm.inference",
    "save": "nsm.models",
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
