"""Monte Carlo inference: predictions from many samples, and how good they are on labelled images."""

from nsm.inference.evaluate import CurvePoint, Evaluation, evaluate
from nsm.inference.predict import Prediction, predict

__all__ = ["CurvePoint", "Evaluation", "Prediction", "evaluate", "predict"]
