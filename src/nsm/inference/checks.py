"""What prediction refuses, in words."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from nsm import random
from nsm.inference.passes import MIB
from nsm.inference.settling import MarginNoise
from nsm.nn.checks import check_batch, check_dtype

SAMPLES, MAX_SAMPLES = 100, 1000  # where none are given


def check_samples(samples: object, name: str = "samples") -> None:
    """Refuse what is not a number of samples; ``name`` is what the caller calls it."""
    if isinstance(samples, bool) or not isinstance(samples, int):
        raise TypeError(f"{name} must be an int, got {type(samples).__name__}")
    if not 1 <= samples <= random.MAX_INDEX + 1:
        raise ValueError(f"{name} must be in [1, 2^32], got {samples}")


def check_votes(votes: object) -> None:
    """Refuse what is not a choice."""
    if not isinstance(votes, bool):
        raise ValueError(f"votes must be True or False, got {votes!r:.80}")


def check_confidence(confidence: object) -> None:
    """Refuse what is not a confidence."""
    if isinstance(confidence, bool) or not isinstance(confidence, (int, float)):
        raise TypeError(f"confidence must be a number, got {type(confidence).__name__}")
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence must be in (0, 1), got {confidence}")


def check_sequential(
    confidence: object, max_samples: int | None, samples: object, *, votes: bool = False
) -> int:
    """The most samples of an input, 1000 for None; refuses what does not go with a confidence."""
    check_confidence(confidence)
    if samples is not None:
        raise ValueError(f"samples must not be given with a confidence, got {samples}; use max_samples")
    if votes:
        raise ValueError("votes must be False with a confidence, since inputs differ in their samples")
    max_samples = MAX_SAMPLES if max_samples is None else max_samples
    check_samples(max_samples, "max_samples")
    return max_samples


def check_improving(confidence: object, max_samples: object, milliseconds: object) -> None:
    """Refuse what predictions that improve do not take; None is no confidence, and any time."""
    if confidence is not None:
        check_confidence(confidence)
    check_samples(max_samples, "max_samples")
    if milliseconds is None:
        return
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float)):
        raise TypeError(f"milliseconds must be a number, got {type(milliseconds).__name__}")
    if math.isnan(milliseconds) or milliseconds <= 0:
        raise ValueError(f"milliseconds must be > 0, got {milliseconds}")


def fixed_samples(samples: int | None, max_samples: object, noise: object) -> int:
    """The number of samples without a confidence, 100 for None; refuses what goes with one only."""
    for name, value in (("max_samples", max_samples), ("noise", noise)):
        if value is not None:
            raise ValueError(f"{name} must be given with a confidence only, got {value!r} without one")
    samples = SAMPLES if samples is None else samples
    check_samples(samples)
    return samples


def checked_noise(noise: object) -> MarginNoise:
    """``noise`` itself, or the default one for None."""
    if noise is None:
        return MarginNoise()
    if not isinstance(noise, MarginNoise):
        raise TypeError(f"noise must be a MarginNoise, got {type(noise).__name__}")
    return noise


def memory_bytes(memory_mib: object) -> int:
    """The bound in bytes; refuses what is none."""
    if isinstance(memory_mib, bool) or not isinstance(memory_mib, (int, float)):
        raise TypeError(f"memory_mib must be a number, got {type(memory_mib).__name__}")
    if not (math.isfinite(memory_mib) and memory_mib > 0):
        raise ValueError(f"memory_mib must be a finite number > 0, got {memory_mib}")
    return math.ceil(memory_mib * MIB)


def check_inputs(net: nn.Module, x: object, name: str) -> None:
    """Refuse inputs that ``net`` cannot take; ``name`` is what the caller calls them."""
    image = getattr(net, "image", None)
    if isinstance(x, Tensor) and isinstance(image, tuple) and x.shape[1:] != image:
        raise ValueError(
            f"{name} must have shape (B, {', '.join(map(str, image))}), which this network takes, "
            f"got {tuple(x.shape)}"
        )
    check_batch(x, name)
    assert isinstance(x, Tensor)
    check_dtype(net, x, name)


def check_indices(inputs: object, count: int) -> None:
    """Refuse what are not the indices of ``count`` inputs."""
    if not isinstance(inputs, Tensor) or inputs.dtype != torch.int64:
        got = inputs.dtype if isinstance(inputs, Tensor) else type(inputs).__name__
        raise TypeError(f"inputs must be an int64 tensor, got {got}")
    if inputs.shape != (count,):
        raise ValueError(
            f"inputs must have shape ({count},), one index for each input, got {tuple(inputs.shape)}"
        )
    least, largest = (int(value) for value in inputs.aminmax())
    if least < 0 or largest > random.MAX_INDEX:
        raise ValueError(f"inputs must hold indices in [0, 2^32), got {least} to {largest}")
