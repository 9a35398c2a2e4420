"""Scoring a network on labelled images: one pass over the data for every figure."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from nsm import random
from nsm.inference.passes import PassSize
from nsm.inference.predict import (
    Prediction,
    check_inputs,
    check_net,
    check_samples,
    memory_bytes,
    predict_in_passes,
)
from nsm.nn import is_stochastic

if TYPE_CHECKING:
    from nsm.data import ImageSet

_BINS = 15
_BATCH = 250  # images between two reports of progress
_VOTE_BYTES = 24  # of one class of one sample: float32 twice while it is joined, then float64 twice


class CurvePoint(NamedTuple):
    """Error and likelihood when fewer samples are averaged.

    Attributes:
        samples: number m of samples averaged.
        error_percent: images whose most probable class is wrong, in percent.
        nll: mean negative log-likelihood of the true class, in nats.
        groups: disjoint groups of m consecutive samples, each scored by itself, over which both are averaged.
    """

    samples: int
    error_percent: float
    nll: float
    groups: int


class Evaluation(NamedTuple):
    """How good the predictions for n labelled images are; m is the softmax averaged over the samples.

    Attributes:
        error_percent: images whose most probable class is wrong, in percent.
        nll: mean of -ln m_t for the true class t, in nats; a probability below the smallest normal float32
            (1.2e-38) counts as that.
        ece: expected calibration error, in [0, 1]: mean distance between confidence max_c m_c and accuracy
            over 15 equal bins of confidence, weighted by the images in each.
        brier: mean of sum_c (m_c - [c = t])^2, in [0, 2].
        entropy: mean entropy of m, in nats.
        expected_entropy: mean of the samples' mean entropy, in nats.
        mutual_information: mean of the difference, in nats.
        samples: samples of each image; 1 for a network that draws nothing.
        n: number of images.
        confusion: int64 (C, C), images by true class (row) and most probable class (column).
        curve: error and likelihood against the number of samples, up to ``samples``, from the same draws.
        prediction: of every image, in order, on the CPU, without votes.
    """

    error_percent: float
    nll: float
    ece: float
    brier: float
    entropy: float
    expected_entropy: float
    mutual_information: float
    samples: int
    n: int
    confusion: Tensor
    curve: tuple[CurvePoint, ...]
    prediction: Prediction

    def to_dict(self) -> dict[str, float]:
        """The numbers by field name, without confusion, curve and the predictions of single images."""
        values = self._asdict()
        for name in ("confusion", "curve", "prediction"):
            del values[name]
        return values


def evaluate(
    net: nn.Module,
    images: ImageSet,
    *,
    samples: int = 100,
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
        samples: samples of each image, in [1, 2^32].
        seed: seed of the draws, an integer in [0, 2^63) or a generator that gives one.
        memory_mib: bound on the tensors of one pass together, in MiB, > 0.
        progress: called with the number of images done and of all images, after each part.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument has a wrong value, there is no image, or ``net`` does not fit the images or
            gives a prediction that is not finite.
    """
    check_net(net)
    check_samples(samples)
    if not len(images):
        raise ValueError("images must hold at least one image, got none")
    bound, seed = memory_bytes(memory_mib), random.resolve_seed(seed)
    device = next((parameter.device for parameter in net.parameters()), torch.device("cpu"))
    samples = samples if is_stochastic(net) else 1
    size = PassSize(bound, samples, device)

    def predict(pixels: Tensor, indices: Tensor) -> Prediction:
        check_inputs(net, pixels, "images")
        return predict_in_passes(
            net, pixels.to(device), samples=samples, seed=seed, votes=True, inputs=indices, size=size
        )

    return score(predict, images, samples=samples, bound=bound, progress=progress)


def score(
    predict: Callable[[Tensor, Tensor], Prediction],
    images: ImageSet,
    *,
    samples: int,
    bound: int,
    progress: Callable[[int, int], object] | None,
) -> Evaluation:
    """:func:`evaluate` for whatever predicts images (n, C, H, W) with their indices (n,), votes included.

    Args:
        predict: gives the prediction, with ``samples`` votes for each image.
        images: at least one image.
        samples: of each image.
        bound: bytes that the pixels and votes of one call may take, four times over.
        progress: as in :func:`evaluate`.
    """
    curve = _Curve()
    parts: list[list[Tensor]] = []
    done = 0
    for indices in torch.split(torch.arange(len(images)), _batch_size(images, samples, bound)):
        pixels, targets = images.batch(indices)
        prediction = predict(pixels, indices)
        _check_prediction(prediction, images, done)
        assert prediction.votes is not None
        curve.add(prediction.votes, targets.to(prediction.votes.device))
        parts.append([field.cpu() for field in prediction[:-1]])
        done += len(indices)
        if progress is not None:
            progress(done, len(images))
    whole = Prediction._make([*(torch.cat(fields) for fields in zip(*parts, strict=True)), None])
    return _scores(whole, images.targets.cpu(), curve)


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


class _Curve:
    """Errors and negative log-likelihoods of groups of samples, summed over images."""

    def __init__(self) -> None:
        self._sums: dict[int, tuple[float, float]] = {}
        self._samples = 0

    def add(self, votes: Tensor, targets: Tensor) -> None:
        """Score the samples (n, S, C) of some images with classes (n,)."""
        self._samples = votes.shape[1]
        wide = votes.double()
        for size in _sizes_below(self._samples):
            groups = self._samples // size
            means = wide[:, : groups * size].view(len(wide), groups, size, -1).mean(2)
            errors, nll = self._sums.get(size, (0.0, 0.0))
            repeated = targets[:, None].expand(-1, groups)
            errors += int((means.argmax(-1) != repeated).sum()) / groups
            nll += float(_surprise(means, repeated).sum()) / groups
            self._sums[size] = (errors, nll)

    def points(self, n: int, error_percent: float, nll: float) -> tuple[CurvePoint, ...]:
        """The curve of ``n`` images, which ends in the scores of all samples."""
        fewer = (
            CurvePoint(size, 100.0 * errors / n, surprise / n, self._samples // size)
            for size, (errors, surprise) in self._sums.items()
        )
        return (*fewer, CurvePoint(self._samples, error_percent, nll, 1))


def _sizes_below(samples: int) -> list[int]:
    """1, 2, 3, 5, then 10, 20, 50 and so on by decades, below ``samples``."""
    decades = (factor * 10**exponent for exponent in itertools.count(1) for factor in (1, 2, 5))
    return list(itertools.takewhile(lambda size: size < samples, itertools.chain((1, 2, 3, 5), decades)))


def _surprise(probabilities: Tensor, targets: Tensor) -> Tensor:
    """-ln of the true class's probability: (..., C) and (...,) to (...,)."""
    true = probabilities.gather(-1, targets[..., None]).squeeze(-1)
    return -true.clamp(min=torch.finfo(torch.float32).tiny).log()


def _scores(prediction: Prediction, targets: Tensor, curve: _Curve) -> Evaluation:
    # Slow to import, and not needed to predict.
    from torchmetrics.functional.classification import (
        multiclass_calibration_error,
        multiclass_confusion_matrix,
    )

    probabilities = prediction.probabilities
    n, classes = probabilities.shape
    wide = probabilities.double()
    decided = probabilities.argmax(1)
    error_percent = 100.0 * int((decided != targets).sum()) / n
    nll = float(_surprise(wide, targets).mean())
    distance = wide - nn.functional.one_hot(targets, classes)
    calibration = multiclass_calibration_error(
        probabilities, targets, num_classes=classes, n_bins=_BINS, norm="l1"
    )
    return Evaluation(
        error_percent=error_percent,
        nll=nll,
        ece=float(calibration),
        brier=float(distance.square().sum(1).mean()),
        entropy=float(prediction.entropy.double().mean()),
        expected_entropy=float(prediction.expected_entropy.double().mean()),
        mutual_information=float(prediction.mutual_information.double().mean()),
        samples=int(prediction.samples_used[0]),
        n=n,
        confusion=multiclass_confusion_matrix(decided, targets, num_classes=classes),
        curve=curve.points(n, error_percent, nll),
        prediction=prediction,
    )
