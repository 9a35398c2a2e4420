"""Values and findings in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nsm.inference import Evaluation, Prediction
from nsm.training import EpochMetrics

WRITTEN_BY = "Written by nsm, the Neural Sampling Machine library."


def counted(number: int, thing: str) -> str:
    """A number of things.

    >>> counted(1, "epoch"), counted(2000, "epoch")
    ('1 epoch', '2,000 epochs')
    """
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def in_words(value: Any) -> str:
    """A JSON-able value without its punctuation.

    >>> in_words({"law": "bernoulli", "p": 0.5}), in_words([0.9, 0.999]), in_words(None)
    ('law: bernoulli, p: 0.5', '0.9, 0.999', 'none')
    """
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {in_words(part)}" for key, part in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(in_words, value))
    return str(value)


def described(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of each item."""
    return [(name.replace("_", " "), in_words(value)) for name, value in values.items()]


def sampled(scores: Evaluation) -> str:
    """Number of samples of an image; the mean where each got as many as it needed."""
    return f"{scores.samples:,}" if isinstance(scores.samples, int) else f"{scores.samples:,.2f}"


def summary(scores: Evaluation) -> str:
    """The scores in one line."""
    samples = f"{sampled(scores)} samples" if scores.samples > 1 else "1 pass"
    measures = f"NLL {scores.nll:.4f} nats, ECE {scores.ece:.4f}"
    return f"test error {scores.error_percent:.2f} % with {samples}, {measures}"


def uncertainty(prediction: Prediction, index: int) -> str:
    """Entropy and mutual information of one prediction."""
    text = f"Entropy {prediction.entropy[index]:.2f} nats"
    if prediction.samples_used[index] > 1:
        text += f", {prediction.mutual_information[index]:.2f} between samples"
    return f"{text}."


def course(epochs: Sequence[EpochMetrics]) -> str:
    """Where learning led."""
    last = epochs[-1]
    text = (
        f"Error over {counted(last.epoch, 'epoch')}, at the end {last.train_error_percent:.2f} % in training"
    )
    if last.validation_error_percent is not None:
        text += f" and {last.validation_error_percent:.2f} % in validation"
    return text
