"""Arrays in the orders that the kernels read: panels of 32 neurons, runs of units, words of bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsm.engine.steps import PANEL, Geometry, Pair

_WORD = 16  # neurons in a number of bits
_PACK = 4  # panels whose weights lie together


def runs(geometry: Geometry, image: Mapping[str, Any]) -> tuple[NDArray[np.int64], int]:
    """Where a field's runs of contiguous units begin, and their length: rows of the kernel where all channels
    of neighbouring pixels are in it, else its pixels.
    """
    (height, width), (down, across) = geometry.kernel, geometry.dilation
    rows = np.arange(height, dtype=np.int64) * down * image["row"]
    if geometry.groups == 1 and (across == 1 or width == 1):
        return rows, width * geometry.inputs[0]
    columns = np.arange(width, dtype=np.int64) * across * image["channels"]
    return (rows[:, None] + columns).reshape(-1), geometry.weight_shape[1]


def unit_offsets(geometry: Geometry, image: Mapping[str, Any]) -> NDArray[np.int64]:
    """Where each unit of group 0's field lies, channels innermost."""
    (height, width), (down, across) = geometry.kernel, geometry.dilation
    rows = np.arange(height, dtype=np.int64)[:, None, None] * down * image["row"]
    columns = np.arange(width, dtype=np.int64)[:, None] * across * image["channels"]
    units: NDArray[np.int64] = rows + columns + np.arange(geometry.weight_shape[1], dtype=np.int64)
    return units.reshape(-1)


def by_group(values: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """(neurons, ...) to (panels, 32, ...), with zeros where a group does not fill its last panel."""
    grouped = values.reshape(geometry.groups, -1, *values.shape[1:])
    lacking = -grouped.shape[1] % PANEL
    filled = np.pad(grouped, [(0, 0), (0, lacking), *[(0, 0)] * (values.ndim - 1)])
    return filled.reshape(-1, PANEL, *values.shape[1:])


def padded(rows: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """(kinds, neurons) to (kinds, 32 panels)."""
    return np.ascontiguousarray(by_group(rows.T, geometry).reshape(-1, len(rows)).T)


def panels(weights: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """(panel, unit, neuron), units in the order of :func:`unit_offsets`."""
    by_unit = weights.transpose(0, 2, 3, 1).reshape(len(weights), -1)
    return by_group(by_unit, geometry).transpose(0, 2, 1)


def can_compare(geometry: Geometry) -> bool:
    """Whether samples that are alike can be compared: whether 16 bits hold the number of a unit."""
    return geometry.fan_in <= 2**16


def packs(weights: NDArray[np.int8], geometry: Geometry) -> NDArray[np.int8]:
    """(pack of panels, unit, neuron), units in the order of :func:`unit_offsets`, zeros in the last pack."""
    by_panel = panels(weights, geometry)
    filled = np.pad(by_panel, ((0, -len(by_panel) % _PACK), (0, 0), (0, 0)))
    return filled.reshape(-1, _PACK, *filled.shape[1:]).transpose(0, 2, 1, 3)


def packed(weights: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """(panel, run, four, neuron, unit)."""
    (height, width), across = geometry.kernel, geometry.dilation[1]
    runs = height if geometry.groups == 1 and (across == 1 or width == 1) else height * width
    by_run = weights.transpose(0, 2, 3, 1).reshape(len(weights), runs, -1)
    fours = np.pad(by_run, ((0, 0), (0, 0), (0, -by_run.shape[2] % 4))).reshape(len(weights), runs, -1, 4)
    return by_group(fours, geometry).transpose(0, 2, 3, 1, 4)


def narrow(packed: NDArray[Any], largest: int) -> int:
    """How many fours of a run can be summed up pair by pair in 16 bits, whatever the activations.

    Args:
        packed: weights as :func:`packed` gives them.
        largest: what they are multiplied with is at most.
    """
    pairs = np.abs(packed.astype(np.int32)).reshape(-1, 2).sum(axis=1)
    return max(1, (2**15 - 1) // max(1, largest * int(pairs.max())))


def can_merge(geometry: Geometry) -> bool:
    """Whether three samples can be merged in two rows: where there is one position, and nothing beyond it."""
    return geometry.groups == 1 and geometry.outputs[1:] == (1, 1) and not any(geometry.padding)


def merged(packed: NDArray[Any]) -> int:
    """How many fours of a run can be summed up where samples are merged: whatever the activations, sums of
    the weights of units that fire lie in (-2^13, 2^13).

    Args:
        packed: weights as :func:`packed` gives them.
    """
    fours: int = packed.shape[2]
    signs = [part.sum(axis=4, dtype=np.int32) for part in (packed.clip(min=0), -packed.clip(max=0))]
    # 64 weights of 8 bits always fit.
    lengths = (-(-fours // parts) for parts in range(1, fours + 1))
    return next(
        length
        for length in lengths
        if all(np.add.reduceat(side, np.arange(0, fours, length), axis=2).max() < 2**13 for side in signs)
    )


def by_window(kinds: NDArray[np.int32], geometry: Geometry, window: Pair) -> NDArray[np.int32]:
    """(positions,) to (windows, neurons of a window)."""
    _, height, width = geometry.outputs
    rows, columns = height // window[0], width // window[1]
    whole = kinds.reshape(height, width)[: rows * window[0], : columns * window[1]]
    return (
        whole.reshape(rows, window[0], columns, window[1]).transpose(0, 2, 1, 3).reshape(rows * columns, -1)
    )


def has_words(geometry: Geometry) -> bool:
    """Whether sums can be made of words: of fewer channels most of a word would be empty."""
    return geometry.groups == 1 and geometry.inputs[0] >= _WORD // 2


def words(weights: NDArray[np.int8], geometry: Geometry) -> NDArray[np.int8]:
    """(neurons, word, 16): the pixels of a field row by row, each pixel's channels in words."""
    by_pixel = weights.transpose(0, 2, 3, 1).reshape(len(weights), -1, geometry.weight_shape[1])
    return np.pad(by_pixel, ((0, 0), (0, 0), (0, -by_pixel.shape[2] % _WORD))).reshape(
        len(weights), -1, _WORD
    )


def fits(words: NDArray[np.int8], block: int) -> bool:
    """Whether every partial sum of a block of words lies in [-2^15, 2^15)."""
    starts = np.arange(0, words.shape[1], block)
    largest = (
        np.add.reduceat(np.abs(part.sum(axis=2, dtype=np.int32)), starts, axis=1).max()
        for part in (words.clip(min=0), words.clip(max=0))
    )
    return all(size < 2**15 for size in largest)


def lines(geometry: Geometry) -> NDArray[np.int64]:
    """Where each word of a field lies, in lines from the field's first pixel."""
    (height, width), (down, across) = geometry.kernel, geometry.dilation
    channels = geometry.inputs[0]
    pixel = 2 * -(-channels // PANEL)
    row = (geometry.padding[1] + geometry.inputs[2] + geometry.padding[3]) * pixel
    rows = np.arange(height, dtype=np.int64)[:, None, None] * down * row
    columns = np.arange(width, dtype=np.int64)[:, None] * across * pixel
    words: NDArray[np.int64] = rows + columns + np.arange(-(-channels // _WORD), dtype=np.int64)
    return words.reshape(-1)
