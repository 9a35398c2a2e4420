"""Measures of predictions and of what they know about themselves: torchmetrics classes of constant memory.

Usable with any trainer or none. Names and meanings are those of torchmetrics and torch-uncertainty.
"""

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
