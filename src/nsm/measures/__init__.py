"""Measures of predictions and of what they know about themselves: torchmetrics classes of constant memory.

Usable with any trainer or none. Names and meanings are those of torchmetrics and torch-uncertainty.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torchmetrics import Accuracy

    from nsm.measures.calibration import AdaptiveCalibrationError, CalibrationError, Reliability
    from nsm.measures.detection import AUPR, AUROC, FPR95
    from nsm.measures.likelihood import BrierScore, CategoricalNLL
    from nsm.measures.selection import AURC, RiskCoverage
    from nsm.measures.uncertainty import Disagreement, Entropy, MutualInformation

__all__ = [
    "AUPR",
    "AURC",
    "AUROC",
    "FPR95",
    "Accuracy",
    "AdaptiveCalibrationError",
    "BrierScore",
    "CalibrationError",
    "CategoricalNLL",
    "Disagreement",
    "Entropy",
    "MutualInformation",
    "Reliability",
    "RiskCoverage",
]

# Loaded at first use: torchmetrics takes as long as torch, and predictions do not need it.
_PLACES = {
    "AUPR": "nsm.measures.detection",
    "AURC": "nsm.measures.selection",
    "AUROC": "nsm.measures.detection",
    "Accuracy": "torchmetrics",
    "AdaptiveCalibrationError": "nsm.measures.calibration",
    "BrierScore": "nsm.measures.likelihood",
    "CalibrationError": "nsm.measures.calibration",
    "CategoricalNLL": "nsm.measures.likelihood",
    "Disagreement": "nsm.measures.uncertainty",
    "Entropy": "nsm.measures.uncertainty",
    "FPR95": "nsm.measures.detection",
    "MutualInformation": "nsm.measures.uncertainty",
    "Reliability": "nsm.measures.calibration",
    "RiskCoverage": "nsm.measures.selection",
}


if not TYPE_CHECKING:  # a checker is to refuse what is not imported above

    def __getattr__(name: str) -> object:
        if name not in _PLACES:
            raise AttributeError(f"module 'nsm.measures' has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(_PLACES[name]), name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
