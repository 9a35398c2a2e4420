"""Monte Carlo inference: predictions from many samples, or as many as needed, and how good they are."""

from nsm.inference.curve import CurvePoint
from nsm.inference.evaluate import Evaluation, evaluate
from nsm.inference.fit import fit_margin_noise
from nsm.inference.predict import predict
from nsm.inference.prediction import Prediction
from nsm.inference.reasons import Reason
from nsm.inference.sequential import predictions
from nsm.inference.settling import MarginNoise
from nsm.inference.temperature import fit_temperature, tempered

__all__ = [
    "CurvePoint",
    "Evaluation",
    "MarginNoise",
    "Prediction",
    "Reason",
    "evaluate",
    "fit_margin_noise",
    "fit_temperature",
    "predict",
    "predictions",
    "tempered",
]
