"""Trained weights as small integers with a scale for each neuron."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from nsm.engine.steps import Floats, Weights

Precision = Literal["int8", "int4", "ternary", "binary"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_LARGEST = {"int8": 127, "int4": 7}
_TERNARY_THRESHOLD = 0.7  # of the mean magnitude; Li et al., "Ternary weight networks" (2016)


def quantized(weights: Floats, precision: Precision) -> tuple[Weights, Floats]:
    """Whole weights and each neuron's scale, w ~ scale * whole.

    int8 and int4: scale = max |w| / 127 or 7. binary: signs, scale = mean |w|. ternary: signs where |w|
    exceeds 0.7 mean |w|, scale = mean |w| of those.

    Args:
        weights: float32 (neurons, ...).
        precision: which.

    Returns:
        int8 of the shape of ``weights``, and float32 (neurons,); 1 for a neuron whose weights are all 0.
    """
    flat = weights.reshape(len(weights), -1).astype(np.float64)
    size = np.abs(flat)
    if precision in _LARGEST:
        scale = size.max(axis=1) / _LARGEST[precision]
    else:
        least = _TERNARY_THRESHOLD * size.mean(axis=1) if precision == "ternary" else np.zeros(len(flat))
        kept = size > least[:, None]
        scale = (size * kept).sum(axis=1) / np.maximum(kept.sum(axis=1), 1)
    rounded = np.where(scale > 0, scale, 1.0).astype(np.float32)
    # A scale below float32's range stands for weights that are as good as 0.
    rounded[rounded == 0] = 1.0
    if precision in _LARGEST:
        whole = np.rint(flat / rounded[:, None]).clip(-_LARGEST[precision], _LARGEST[precision])
    else:
        whole = np.where(kept, np.sign(flat), 0.0)
    return whole.astype(np.int8).reshape(weights.shape), rounded
