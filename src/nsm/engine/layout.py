"""A program's numbers as the kernels want them: panels of 32 neurons, fields in runs of contiguous units."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nsm import random
from nsm.engine import arguments, packing
from nsm.engine.steps import (
    PANEL,
    Classifier,
    First,
    Geometry,
    Pair,
    Pool,
    Real,
    Sampled,
    Shape,
    Step,
    area_behind,
    areas,
    draws_synapses,
    is_residual,
    largest_square,
    shapes,
    spacing,
)

_ALIGNMENT = 64
_DONE, _NOT_FINITE = 0, 1
_Fields = dict[str, Any]
_WEIGHTS = ("weights", "squares", "tiles", "square_tiles", "subsets")
_NUMBERS = ("scale", "shift", "power", "floor", "kinds", "lacking", "edges")
_ADDRESSES = (*_WEIGHTS, *_NUMBERS, "synapses", "unit_offsets", "lines", "rows")
_TILE = 64  # units of a run that are multiplied together where there is AMX
_BLOCKS = (32, 16)  # words whose sums are made in 16 bits: of 16 they always fit


class InputError(ValueError):
    """An input that a program cannot take.

    Attributes:
        number: which one.
        what: what is wrong with it.
    """

    def __init__(self, number: int, what: str) -> None:
        super().__init__(f"x must be finite, but input {number} {what}")
        self.number, self.what = number, what


class Entropies(NamedTuple):
    """In nats, (N,) each: of the mean, the mean of the samples' own, and their difference."""

    whole: Tensor
    expected: Tensor
    mutual: Tensor


class Kernels:
    """A program laid out for the C++ kernels.

    Args:
        extension: the compiled extension.
        steps: of a checked program.
    """

    def __init__(self, extension: ModuleType, steps: Sequence[Step]) -> None:
        self._arrays: list[NDArray[Any]] = []  # what the kernels have addresses of
        self._tiles = "amx" in extension.instruction_sets()
        self._classes = shapes(steps[-1])[1][0]
        layers = []
        for step, area, after in zip(steps, areas(steps), [*steps[1:], None], strict=True):
            layers.append(self._layer(step, area, self._image(shapes(step)[0], step), after))
        self._program = extension.Program(layers, self._classes)

    def run(
        self,
        x: Tensor,
        inputs: Tensor | None,
        *,
        samples: range,
        seed: int,
        keep: bool,
        instruction_set: str,
    ) -> tuple[Tensor, Entropies, Tensor | None]:
        """Samples of every input, summed up.

        Args:
            x: float32 (N, channels, height, width), or (N, channels) for images of one pixel; contiguous.
            inputs: int64 (N,), contiguous; None for 0 to N - 1.
            samples: numbers of the S samples; the first is a multiple of 4, since four are drawn together.
            seed: in [0, 2^63).
            keep: whether to return every sample's logits.
            instruction_set: of :func:`nsm.native.paths.instruction_sets`.

        Returns:
            probabilities (N, classes); entropies; logits (N, S, classes), or None; all float32.

        Raises:
            InputError: if an input is not finite, or so large that the first layer overflows.
        """
        count = x.shape[0]
        # Like x, whatever torch's default dtype and device are. Views of one tensor would take longer.
        probabilities = x.new_empty(count, self._classes)
        entropies = Entropies(x.new_empty(count), x.new_empty(count), x.new_empty(count))
        logits = x.new_empty(count, len(samples), self._classes) if keep else None
        outcome, failed = self._program.run(
            x.data_ptr(),
            0 if inputs is None else inputs.data_ptr(),
            count,
            samples.start,
            len(samples),
            seed,
            probabilities.data_ptr(),
            entropies.whole.data_ptr(),
            entropies.expected.data_ptr(),
            entropies.mutual.data_ptr(),
            0 if logits is None else logits.data_ptr(),
            instruction_set,
            torch.get_num_threads(),
        )
        if outcome != _DONE:
            what = (
                "holds NaN or infinity"
                if outcome == _NOT_FINITE
                else "is too large: the first layer overflows"
            )
            raise InputError(failed, what)
        return probabilities, entropies, logits

    def _address(self, values: NDArray[Any]) -> int:
        size = values.nbytes
        memory = np.empty(size + _ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % _ALIGNMENT
        memory[start : start + size] = np.ascontiguousarray(values).view(np.uint8).reshape(-1)
        self._arrays.append(memory)
        return int(memory.ctypes.data) + start

    def _layer(self, step: Step, area: int, before: _Fields, after: Step | None) -> _Fields:
        area_after = area_behind(step, area)
        # Squares are made by what makes averages last, before a layer that needs them.
        averaging = isinstance(step, Pool) or is_residual(step)
        squares = averaging and isinstance(after, Sampled) and not (after.pooled or draws_synapses(after))
        fields: _Fields = {
            "output": self._image(shapes(after)[0], after) if after else self._image((1, 1, 1), None),
            "squares": int(squares),
            "margin": area_after,
        }
        if isinstance(step, Pool):
            return fields | {"kind": "pool", "pool": _pool(step, area_after), "input": {"image": before}}
        if is_residual(step):
            added = Pool(step.geometry.outputs, (1, 1), (1, 1), average=True)
            fields["pool"] = _pool(added, area_after)
        product = self._product(step, before)
        if isinstance(step, Real):
            product["shift"] = self._address(packing.padded(step.bias[None], step.geometry))
            inputs = self._input(step, step.weights, before)
            return fields | {"kind": "real", "product": product, "input": inputs}
        if isinstance(step, First | Sampled) and draws_synapses(step):
            return fields | self._drawn(step, product, before, area)
        if isinstance(step, First):
            numbers = arguments.of_first(step)
            product |= self._varying(step.geometry, numbers)
            inputs = self._input(step, numbers.weights, before)
            return fields | {"kind": "first", "product": product, "input": inputs}
        weights = packing.packed(step.weights, step.geometry)
        product |= {"narrow": packing.narrow(weights, 2 * area), **self._both(weights, "weights", "tiles")}
        if area == 1 and packing.can_merge(step.geometry):
            product["merged"] = packing.merged(weights)
            if isinstance(step, Sampled) and packing.can_compare(step.geometry):
                product["rows"] = self._address(packing.packs(step.weights, step.geometry))
        # What a residual layer receives is added to as codes, and so are the neurons of a population.
        sums = isinstance(step, Sampled) and (step.residual or step.population > 1)
        if area == 1 and packing.has_words(step.geometry) and not sums:
            product |= self._subsets(step)
        if isinstance(step, Classifier):
            scale, shift = arguments.of_classifier(step, area)
            return fields | {
                "kind": "classifier",
                "product": product | self._rows(step.geometry, scale, shift),
            }
        if step.pooled:
            fixed = arguments.of_signs(step, area)
            product |= self._rows(step.geometry, fixed.scale, fixed.shift)
            if len(fixed.scale) > 1:
                product["kinds"] = self._address(packing.by_window(fixed.kinds, step.geometry, step.window))
        else:
            averages = arguments.of_averages(step, area)
            product |= self._varying(step.geometry, averages)
            squared = packing.packed(averages.squares, step.geometry)
            product |= {
                "narrow_squares": packing.narrow(squared, largest_square(area)),
                **self._both(squared, "squares", "square_tiles"),
            }
        return fields | {"kind": "sampled", "product": product, "residual": int(step.residual)}

    def _drawn(self, step: First | Sampled, product: _Fields, before: _Fields, area: int) -> _Fields:
        """A layer whose every synapse is drawn."""
        product |= self._rows(step.geometry, *arguments.of_synapses(step, area))
        product |= {"limit": step.noise.limit, "area": area}
        if isinstance(step, First):
            return {"kind": "first", "product": product, "input": self._input(step, step.weights, before)}
        product |= {
            "synapses": self._address(packing.panels(step.weights.astype(np.int16), step.geometry)),
            "unit_offsets": self._address(packing.unit_offsets(step.geometry, before)),
        }
        return {"kind": "sampled", "product": product, "residual": int(step.residual)}

    def _both(self, packed: NDArray[Any], name: str, tiles: str) -> _Fields:
        """Packed weights, and for tiles, whose runs are filled up, the same with zeros behind."""
        fields = {name: self._address(packed)}
        if self._tiles:
            whole = np.pad(packed, [(0, 0), (0, 0), (0, -packed.shape[2] % (_TILE // 4)), (0, 0), (0, 0)])
            fields[tiles] = self._address(whole) if whole.shape != packed.shape else fields[name]
        return fields

    def _input(self, step: Real | First, weights: NDArray[Any], before: _Fields) -> _Fields:
        """What a layer on real inputs has beside its product."""
        return {
            "weights": self._address(packing.panels(weights, step.geometry)),
            "units": step.geometry.fan_in,
            "offsets": self._address(packing.unit_offsets(step.geometry, before)),
            "image": before,
            "binarize": int(step.binarize),
            "rectified": int(isinstance(step, Real) and step.rectified),
        }

    def _subsets(self, step: Sampled | Classifier) -> _Fields:
        """Weights for activations that are bits, see native/tables.cpp."""
        words = packing.words(step.weights, step.geometry)
        fields: _Fields = {}
        if any(step.geometry.padding):
            lacking, edges = arguments.beyond(step)
            fields["lacking"] = self._address(packing.padded(lacking, step.geometry))
            fields["edges"] = self._address(packing.by_window(edges, step.geometry, _window(step)))
        return fields | {
            "subsets": self._address(packing.by_group(words, step.geometry)),
            "words": words.shape[1],
            "block": next(block for block in _BLOCKS if packing.fits(words, block)),
            "lines": self._address(packing.lines(step.geometry)),
        }

    def _product(self, step: Real | First | Sampled | Classifier, before: _Fields) -> _Fields:
        geometry, window = step.geometry, _window(step)
        _, height, width = shapes(step)[1]
        offsets, length = packing.runs(geometry, before)
        where = 0
        if isinstance(step, First | Sampled):
            where = random.place(step.noise.layer, purpose=random.Purpose.PROGRAM)
        return {
            "groups": geometry.groups,
            "panels": -(-geometry.neurons // geometry.groups // PANEL),
            "neurons": geometry.neurons // geometry.groups,
            "height": height,
            "width": width,
            "stride_y": geometry.stride[0],
            "stride_x": geometry.stride[1],
            "window_y": window[0],
            "window_x": window[1],
            "segments": len(offsets),
            "quads": -(-length // 4),
            "blocks": -(-length // _TILE),
            "offsets": self._address(offsets),
            "group_units": geometry.weight_shape[1],
            "place": where,
            "population": step.population if isinstance(step, First | Sampled) else 1,
            "limit": 0,
            "units": geometry.fan_in,
            "area": 1,
            "narrow": 1,
            "narrow_squares": 1,
            "merged": 0,
            "words": 0,
            "block": 1,
            **dict.fromkeys(_ADDRESSES),
        }

    def _rows(self, geometry: Geometry, scale: NDArray[Any], shift: NDArray[Any]) -> _Fields:
        return {
            name: self._address(packing.padded(values.reshape(-1, geometry.neurons), geometry))
            for name, values in (("scale", scale), ("shift", shift))
        }

    def _varying(self, geometry: Geometry, numbers: arguments.Varying) -> _Fields:
        named = {name: getattr(numbers, name) for name in ("scale", "shift", "power", "floor")}
        return {
            name: self._address(packing.padded(np.atleast_2d(values), geometry))
            for name, values in named.items()
        }

    def _image(self, shape: Shape, reader: Step | None) -> _Fields:
        """An image with the margins that the step that reads it needs."""
        channels, height, width = shape
        top, left, bottom, right = (0, 0, 0, 0)
        if reader is not None and not isinstance(reader, Pool):
            top, left, bottom, right = reader.geometry.padding
        row = (left + width + right) * channels
        # An odd number of lines: the same place of several samples does not compete for one part of a cache.
        size = (-(-(top + height + bottom) * row // _ALIGNMENT) | 1) * _ALIGNMENT
        return {
            "height": height,
            "width": width,
            "channels": channels,
            "top": top,
            "left": left,
            "rows": top + height + bottom,
            "columns": left + width + right,
            "row": row,
            "size": size,
        }


def _window(step: Step) -> Pair:
    return step.window if isinstance(step, First | Sampled) else (1, 1)


def _pool(step: Pool, area: int) -> _Fields:
    _, height, width = step.outputs
    return {
        "height": height,
        "width": width,
        "kernel_y": step.kernel[0],
        "kernel_x": step.kernel[1],
        "stride_y": step.stride[0],
        "stride_x": step.stride[1],
        "average": int(step.average),
        "offset": area,
        "spacing": spacing(area),
    }
