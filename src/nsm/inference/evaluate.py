"""Scoring a network on labelled images: one pass over the data for every figure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from nsm import measures, random
from nsm.inference.checks import (
    check_inputs,
    check_sequential,
    checked_noise,
    fixed_samples,
    memory_bytes,
)
from nsm.inference.curve import Curve, CurvePoint
from nsm.inference.passes import MIB, PassSize
from nsm.inference.predict import predict_in_passes, predict_until_settled
from nsm.inference.prediction import Prediction, joined
from nsm.inference.settling import MarginNoise
from nsm.nn import is_stochastic
from nsm.nn.checks import check_net

if TYPE_CHECKING:
    from nsm.data import ImageSet
    from nsm.measures import Reliability, RiskCoverage

_BINS = 15
_BATCH = 250  # images between two reports of progress
_VOTE_BYTES = 24  # of one class of one sample: float32 twice while it is joined, then float64 twice


class Evaluation(NamedTuple):
    """How good the predictions for n labelled images are; m is the softmax averaged over the samples.

    Attributes:
        error_percent: images whose most probable class is wrong, in percent.
        nll: mean of -ln m_t for the true class t, in nats; a probability below the smallest normal float32
            (1.2e-38) counts as that.
        ece: expected calibration error, in [0, 1]: mean distance between confidence max_c m_c and accuracy
            over 15 equal bins of confidence, weighted by the images in each.
        adaptive_ece: the same over 15 bins that hold equally many images.
        brier: mean of sum_c (m_c - [c = t])^2, in [0, 2].
        aurc: area under the risk-coverage curve, in [0, 1]: mean error of the surest k images, over all k.
        entropy: mean entropy of m, in nats.
        expected_entropy: mean of the samples' mean entropy, in nats.
        mutual_information: mean of the difference, in nats.
        samples: samples of each image, their mean if images differ; 1 for a network that draws nothing.
        n: number of images.
        confusion: int64 (C, C), images by true class (row) and most probable class (column).
        curve: error and likelihood against the number of samples, up to ``samples``, from the same draws;
            empty where images were sampled until settled.
        reliability: accuracy and confidence in the bins of ``ece``.
        risk_coverage: error of the surest predictions, whose area is ``aurc``.
        prediction: of every image, in order, on the CPU, without votes.
    """

    error_percent: float
    nll: float
    ece: float
    adaptive_ece: float
    brier: float
    aurc: float
    entropy: float
    expected_entropy: float
    mutual_information: float
    samples: float
    n: int
    confusion: Tensor
    curve: tuple[CurvePoint, ...]
    reliability: Reliability
    risk_coverage: RiskCoverage
    prediction: Prediction

    def to_dict(self) -> dict[str, float]:
        """The numbers by field name, without confusion, curves and the predictions of single images."""
        return {name: value for name, value in self._asdict().items() if isinstance(value, (int, float))}


def evaluate(
    net: nn.Module,
    images: ImageSet,
    *,
    samples: int | None = None,
    confidence: float | None = None,
    max_samples: int | None = None,
    noise: MarginNoise | None = None,
    seed: int | torch.Generator | None = 0,
    memory_mib: float = 256.0,
    progress: Callable[[int, int], object] | None = None,
) -> Evaluation:
    """Predict every image of a set, see :func:`nsm.predict`, and compare with its class.

    Images go through the network once, a few hundred at a time; only the predictions stay. An image's index
    in the random streams is its place in the set.

    Args:
        net: maps images (N, C, H, W) in [0, 1] to logits, one for each class of the set.
        images: at least one image.
        samples: samples of each image, in [1, 2^32]; None for 100, unless a confidence is given instead.
        confidence: in (0, 1), to sample each image until its class is settled; None for a fixed number.
        max_samples: most samples of an image, with a confidence; None for 1000.
        noise: law of the margins' noise, with a confidence; None for the default one.
        seed: seed of the draws, an integer in [0, 2^63) or a generator that gives one.
        memory_mib: bound on the tensors of one pass together, in MiB, > 0.
        progress: called with the number of images done and of all images, after each part.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument has a wrong value, there is no image, or ``net`` does not fit the images or
            gives a prediction that is not finite.
    """
    check_net(net)
    if not hasattr(images, "batch"):
        raise TypeError(f"images must be an nsm.data.ImageSet, got {type(images).__name__}")
    if not len(images):
        raise ValueError("images must hold at least one image, got none")
    bound, seed = memory_bytes(memory_mib), random.resolve_seed(seed)
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    predicted: Callable[..., Prediction]
    if confidence is None:
        samples = fixed_samples(samples, max_samples, noise)
        samples = samples if is_stochastic(net) else 1
        predicted = partial(
            predict_in_passes,
            net,
            samples=samples,
            seed=seed,
            votes=True,
            size=PassSize(bound, samples, device),
        )
    else:
        most = check_sequential(confidence, max_samples, samples)
        predicted = partial(
            predict_until_settled,
            net,
            confidence=confidence,
            max_samples=most,
            noise=checked_noise(noise),
            seed=seed,
            size=PassSize(bound, 1, device),
        )

    def predict(pixels: Tensor, indices: Tensor) -> Prediction:
        check_inputs(net, pixels, "images")
        return predicted(pixels.to(device), inputs=indices)

    return score(predict, images, samples=samples, bound=bound, progress=progress)


def score(
    predict: Callable[[Tensor, Tensor], Prediction],
    images: ImageSet,
    *,
    samples: int | None = None,
    bound: int = 256 * MIB,
    progress: Callable[[int, int], object] | None = None,
) -> Evaluation:
    """:func:`evaluate` for whatever predicts images (n, C, H, W) with their indices (n,).

    Args:
        predict: gives the prediction, with the votes where ``samples`` is a number.
        images: at least one image.
        samples: of each image; None where images differ, and there is no curve.
        bound: bytes of which the pixels and votes of one call take at most a quarter.
        progress: as in :func:`evaluate`.
    """
    curve = None if samples is None else Curve()
    batch = _BATCH if samples is None else _batch_size(images, samples, bound)
    scores = _Scores(len(images.classes))
    parts: list[Prediction] = []
    done = 0
    for indices in torch.split(torch.arange(len(images)), batch):
        pixels, targets = images.batch(indices)
        prediction = predict(pixels, indices)
        _check_prediction(prediction, images, done)
        scores.add(prediction.probabilities.cpu(), targets.cpu())
        if curve is not None and prediction.votes is not None:
            curve.add(prediction.votes, targets.to(prediction.votes.device))
        parts.append(prediction._replace(votes=None))
        done += len(indices)
        if progress is not None:
            progress(done, len(images))
    return scores.evaluation(joined(parts, torch.device("cpu")), curve)


def _batch_size(images: ImageSet, samples: int, bound: int) -> int:
    """Images whose pixels and votes take a quarter of the bound."""
    each = 4 * images.images[0].numel() + _VOTE_BYTES * samples * len(images.classes)
    return min(_BATCH, max(1, bound // 4 // each))


def _check_prediction(prediction: Prediction, images: ImageSet, first: int) -> None:
    classes = prediction.probabilities.shape[1]
    if classes != len(images.classes):
        raise ValueError(
            f"net must have an output for each of the {len(images.classes)} classes of {images.name}, "
            f"got {classes} outputs"
        )
    broken = (~prediction.probabilities.isfinite().all(1)).nonzero()
    if len(broken):
        raise ValueError(
            f"net must give finite outputs, but those for image {first + int(broken[0])} are not"
        )


class _Scores:
    """Measures of predictions that come in parts."""

    def __init__(self, classes: int) -> None:
        self._classes = classes
        self._calibration, self._selection = measures.CalibrationError(_BINS), measures.AURC()
        self._measures = {
            "nll": measures.CategoricalNLL(),
            "ece": self._calibration,
            "adaptive_ece": measures.AdaptiveCalibrationError(_BINS),
            "brier": measures.BrierScore(),
            "aurc": self._selection,
        }
        self._confusion = torch.zeros(classes, classes, dtype=torch.int64)

    def add(self, probabilities: Tensor, targets: Tensor) -> None:
        """Count images, on the CPU."""
        for measure in self._measures.values():
            measure.update(probabilities, targets)
        pairs = targets * self._classes + probabilities.argmax(1)
        self._confusion += torch.bincount(pairs, minlength=self._classes**2).view_as(self._confusion)

    def evaluation(self, prediction: Prediction, curve: Curve | None) -> Evaluation:
        """Everything together."""
        n = len(prediction.probabilities)
        error_percent = 100.0 * (n - int(self._confusion.trace())) / n
        scores = {name: float(measure.compute()) for name, measure in self._measures.items()}
        used = prediction.samples_used
        equal = bool((used == used[0]).all())
        return Evaluation(
            error_percent=error_percent,
            **scores,
            entropy=float(prediction.entropy.double().mean()),
            expected_entropy=float(prediction.expected_entropy.double().mean()),
            mutual_information=float(prediction.mutual_information.double().mean()),
            samples=int(used[0]) if equal else float(used.double().mean()),
            n=n,
            confusion=self._confusion,
            curve=() if curve is None else curve.points(n, error_percent, scores["nll"]),
            reliability=self._calibration.reliability(),
            risk_coverage=self._selection.curve(),
            prediction=prediction,
        )
