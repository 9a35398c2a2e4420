"""Program files: the bytes of ``docs/format.md``, written atomically and read without trust."""

from __future__ import annotations

import hashlib
import math
import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nsm.engine.checks import LARGEST_POPULATION, check
from nsm.engine.steps import (
    Classifier,
    First,
    Geometry,
    Noise,
    Pair,
    Pool,
    Real,
    Sampled,
    Step,
    Weights,
    draws_synapses,
)
from nsm.files import write_atomically

MAGIC = b"\x89NSM\r\n\x1a\n"
VERSION = 6
LARGEST_FILE = 2**31
_MOST_STEPS = 1024
_HEADER = struct.Struct("<8sIIQII32s")
_RECORD = struct.Struct("<I3II2I2I4I2IIIIIII2IIddQQQQ")
_ALIGNMENT = 64
_FIRST, _SAMPLED, _MAXIMUM, _AVERAGE, _CLASSIFIER, _REAL = 1, 2, 3, 4, 5, 6
# Numbers of a neuron, beside the biases of a population.
_FLOATS = {_REAL: 1, _FIRST: 1, _SAMPLED: 2, _CLASSIFIER: 2}
_BINARIZE, _RECTIFIED, _RESIDUAL, _SYNAPSES = 1, 2, 4, 8
_FLAGS = {  # that a kind may have
    _REAL: _BINARIZE | _RECTIFIED,
    _FIRST: _BINARIZE | _SYNAPSES,
    _SAMPLED: _RESIDUAL | _SYNAPSES,
}
_LARGEST_WEIGHT = {8: 127, 4: 7, 2: 1}
_UNDRAWN = (0, 0, (0, 0), 0.0, 0.0, (0, 0, 0, 0))  # what a record says of no draws, and no arrays yet


class ProgramFileError(ValueError):
    """A program file that cannot be read: the message names the file and what is wrong with it."""


class _Record(NamedTuple):
    kind: int
    geometry: Geometry
    bits: int
    layer: int
    flags: int
    pooled: int
    population: int
    window: Pair
    variance: float
    additive: float
    arrays: tuple[int, int, int, int]

    @property
    def pools(self) -> bool:
        return self.kind in (_MAXIMUM, _AVERAGE)

    def sizes(self) -> tuple[int, int]:
        """Bytes of weights and of neurons' numbers."""
        if self.pools:
            return 0, 0
        return -(-math.prod(self.geometry.weight_shape) * self.bits // 8), (
            4 * self.geometry.neurons * (_FLOATS[self.kind] + self.population)
        )


def write(path: Path, steps: tuple[Step, ...], *, vector: bool) -> None:
    """Write the steps of a checked program to ``path``, under a temporary name first."""
    write_atomically(path, to_bytes(steps, vector=vector))


def to_bytes(steps: tuple[Step, ...], *, vector: bool) -> bytes:
    """The file of the steps of a checked program."""
    body = bytearray(_HEADER.size + _RECORD.size * len(steps))
    for number, step in enumerate(steps):
        record, arrays = _described(step)
        places = []
        for array in arrays:
            body += bytes(-len(body) % _ALIGNMENT)
            places += [len(body), len(array)]
            body += array
        _write_record(body, _HEADER.size + number * _RECORD.size, record, tuple(places or (0, 0, 0, 0)))
    header = (MAGIC, VERSION, len(steps), len(body), int(vector), 0)
    _HEADER.pack_into(body, 0, *header, bytes(32))
    _HEADER.pack_into(body, 0, *header, hashlib.sha256(body).digest())
    return bytes(body)


def read(path: Path) -> tuple[tuple[Step, ...], bool]:
    """The steps in a file, checked, and whether inputs are vectors.

    Raises:
        ProgramFileError: if the file cannot be read or is not exactly as ``docs/format.md`` says.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return from_bytes(file.read(min(size, LARGEST_FILE) + 1))
    except OSError as error:
        raise ProgramFileError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise ProgramFileError(f"{path}: {error}") from error


def from_bytes(data: bytes) -> tuple[tuple[Step, ...], bool]:
    """The steps in the bytes of a file, checked, and whether inputs are vectors.

    Raises:
        ValueError: naming what is wrong.
    """
    count, vector = _read_header(data)
    records = []
    end = _HEADER.size + count * _RECORD.size
    for number in range(count):
        try:
            record, end = _read_record(data, _HEADER.size + number * _RECORD.size, end)
        except ValueError as error:
            raise ValueError(f"step {number}: {error}") from error
        records.append(record)
    if end != len(data):
        raise ValueError(f"has {len(data)} bytes, its arrays end after {end}")
    _check_digest(data)
    steps = []
    for number, record in enumerate(records):
        try:
            steps.append(_step(data, record))
        except ValueError as error:
            raise ValueError(f"step {number}: {error}") from error
    check(steps)
    if vector and records[0].geometry.inputs[1:] != (1, 1):
        raise ValueError(f"takes vectors of shape {records[0].geometry.inputs}")
    return tuple(steps), vector


def _read_header(data: bytes) -> tuple[int, bool]:
    """Number of steps, and whether inputs are vectors."""
    if len(data) < _HEADER.size:
        raise ValueError(f"ends after {len(data)} bytes, within its header")
    magic, version, count, size, vector, zero, _ = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise ValueError(f"starts with bytes {magic.hex(' ')}, a program file with {MAGIC.hex(' ')}")
    if version != VERSION:
        raise ValueError(f"has version {version}; this library reads version {VERSION}")
    if size != len(data) or size > LARGEST_FILE:
        raise ValueError(f"has {len(data)} bytes, {size} by its header, at most {LARGEST_FILE} are allowed")
    if not 2 <= count <= _MOST_STEPS or vector not in (0, 1) or zero:
        raise ValueError(f"its header is damaged ({count} steps, flags {vector} and {zero})")
    if _HEADER.size + count * _RECORD.size > size:
        raise ValueError(f"ends after {size} bytes, within the records of its {count} steps")
    return count, bool(vector)


def _check_digest(data: bytes) -> None:
    digest = _HEADER.unpack_from(data)[-1]
    blank = data[: _HEADER.size - len(digest)] + bytes(len(digest))
    if hashlib.sha256(blank + data[_HEADER.size :]).digest() != digest:
        raise ValueError("its checksum is wrong: the file is damaged")


def packed(weights: Weights) -> tuple[int, bytes]:
    """(bits, bytes) of integer weights, in the fewest bits that hold them."""
    largest = int(np.abs(weights).max(initial=0))
    if largest == 1 and (weights != 0).all():
        bits = 1
        fields = (weights > 0).astype(np.uint8)
    else:
        bits = 2 if largest <= 1 else 4 if largest <= _LARGEST_WEIGHT[4] else 8
        fields = weights.view(np.uint8) & (2**bits - 1)
    if bits == 8:
        return bits, weights.tobytes()
    flat = (fields.reshape(-1, 1) >> np.arange(bits, dtype=np.uint8)) & 1
    return bits, np.packbits(flat, bitorder="little").tobytes()


def unpacked(data: bytes, bits: int, count: int) -> Weights:
    """``count`` integer weights, refused where one is out of its range or a bit left over is set."""
    if bits == 8:
        values = np.frombuffer(data, np.int8)
    else:
        flat = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        if flat[count * bits :].any():
            raise ValueError("bits behind the last weight must be 0")
        fields = np.zeros(count, np.int8)
        for bit in range(bits):
            fields |= (flat[bit : count * bits : bits] << bit).view(np.int8)
        # Two's complement, but of one bit: there 0 is -1.
        values = 2 * fields - 1 if bits == 1 else fields - ((fields >> (bits - 1)) << bits).astype(np.int8)
    if bits > 1 and count and int(values.min()) < -_LARGEST_WEIGHT[bits]:
        raise ValueError(f"weights of {bits} bits must be at least {-_LARGEST_WEIGHT[bits]}")
    return values


def _described(step: Step) -> tuple[_Record, list[bytes]]:
    if isinstance(step, Pool):
        channels = step.inputs[0]
        geometry = Geometry(step.inputs, channels, step.kernel, step.stride, groups=channels)
        kind = _AVERAGE if step.average else _MAXIMUM
        return _Record(kind, geometry, 0, 0, 0, *_UNDRAWN), []
    if isinstance(step, Classifier):
        bits, weights = packed(step.weights)
        record = _Record(_CLASSIFIER, step.geometry, bits, 0, 0, *_UNDRAWN)
        return record, [weights, _floats(step.scale, step.bias)]
    if isinstance(step, Real):
        flags = _BINARIZE * step.binarize | _RECTIFIED * step.rectified
        record = _Record(_REAL, step.geometry, 32, 0, flags, *_UNDRAWN)
        return record, [_floats(step.weights), _floats(step.bias)]
    noise = step.noise
    variance = noise.transmission or noise.variance
    law = (step.population, step.window, variance, noise.additive, (0, 0, 0, 0))
    flags = _SYNAPSES * draws_synapses(step)
    if isinstance(step, First):
        flags |= _BINARIZE * step.binarize
        record = _Record(_FIRST, step.geometry, 32, noise.layer, flags, 0, *law)
        return record, [_floats(step.weights), _floats(noise.gain, noise.biases)]
    bits, weights = packed(step.weights)
    flags |= _RESIDUAL * step.residual
    record = _Record(_SAMPLED, step.geometry, bits, noise.layer, flags, step.pooled, *law)
    return record, [weights, _floats(step.scale, noise.gain, noise.biases)]


def _floats(*arrays: NDArray[np.float32]) -> bytes:
    return b"".join(array.astype("<f4").tobytes() for array in arrays)


def _write_record(body: bytearray, at: int, record: _Record, places: tuple[int, ...]) -> None:
    g = record.geometry
    _RECORD.pack_into(
        body,
        at,
        record.kind,
        *g.inputs,
        g.neurons,
        *g.kernel,
        *g.stride,
        *g.padding,
        *g.dilation,
        g.groups,
        record.bits,
        record.layer,
        record.flags,
        record.pooled,
        record.population,
        *record.window,
        0,
        record.variance,
        record.additive,
        *places,
    )


def _read_record(data: bytes, at: int, end: int) -> tuple[_Record, int]:
    """A record whose arrays lie where they must, behind ``end``; and their end."""
    fields: tuple[Any, ...] = _RECORD.unpack_from(data, at)
    kind, (bits, layer, flags, pooled, population), zero = fields[0], fields[16:21], fields[23]
    geometry = Geometry(
        fields[1:4], fields[4], fields[5:7], fields[7:9], fields[9:13], fields[13:15], fields[15]
    )
    record = _Record(
        *(kind, geometry, bits, layer, flags, pooled, population, fields[21:23]),
        *(fields[24], fields[25], fields[26:30]),
    )
    _check_record(record, zero)
    geometry.check()
    expected: list[int] = []
    for size in record.sizes():
        if record.pools:
            expected += [0, 0]
            continue
        start = end + -end % _ALIGNMENT
        if any(data[end:start]):
            raise ValueError("bytes between arrays must be 0")
        expected += [start, size]
        end = start + size
    if record.arrays != tuple(expected) or end > len(data):
        raise ValueError(
            f"arrays must lie at {tuple(expected)} in {len(data)} bytes (offset, size), got {record.arrays}"
        )
    return record, end


def _check_record(record: _Record, zero: int) -> None:
    """Refuse fields that do not belong to the kind of step."""
    kind, geometry, flags = record.kind, record.geometry, record.flags
    drawn = kind in (_FIRST, _SAMPLED)
    if not _FIRST <= kind <= _REAL:
        raise ValueError(f"kind must be {_FIRST} to {_REAL}, got {kind}")
    allowed = (0,) if record.pools else (32,) if kind in (_REAL, _FIRST) else (8, 4, 2, 1)
    if record.bits not in allowed:
        raise ValueError(f"bits of a weight must be one of {allowed}, got {record.bits}")
    if flags & ~_FLAGS.get(kind, 0) or (record.pooled and kind != _SAMPLED) or zero:
        raise ValueError(
            f"flags {flags}, pooled {record.pooled} or {zero} do not belong to this kind of step"
        )
    if drawn and not 1 <= record.population <= LARGEST_POPULATION:
        raise ValueError(f"population must be 1 to {LARGEST_POPULATION}, got {record.population}")
    law = (record.layer, record.population, record.window, record.variance, record.additive)
    if not drawn and law != (0, 0, (0, 0), 0.0, 0.0):
        raise ValueError("a step that draws nothing must have neither layer, population, window nor variance")
    channels = geometry.inputs[0]
    if record.pools and geometry != Geometry(
        geometry.inputs, channels, geometry.kernel, geometry.stride, groups=channels
    ):
        raise ValueError(f"a pooling has neither padding nor dilation, got {geometry}")


def _step(data: bytes, record: _Record) -> Step:
    geometry = record.geometry
    if record.pools:
        return Pool(geometry.inputs, geometry.kernel, geometry.stride, record.kind == _AVERAGE)
    start, size, numbers, count = record.arrays
    floats = np.frombuffer(data, "<f4", count // 4, numbers).astype(np.float32)
    rows = floats.reshape(-1, geometry.neurons)
    if record.kind in (_REAL, _FIRST):
        weights = np.frombuffer(data, "<f4", size // 4, start).astype(np.float32)
        shaped, binarize = weights.reshape(geometry.weight_shape), bool(record.flags & _BINARIZE)
        if record.kind == _FIRST:
            return First(geometry, shaped, _noise(record, rows[0], rows[1:]), binarize, record.window)
        return Real(geometry, shaped, rows[0], bool(record.flags & _RECTIFIED), binarize)
    total = math.prod(geometry.weight_shape)
    whole = unpacked(data[start : start + size], record.bits, total).reshape(geometry.weight_shape)
    if record.kind == _SAMPLED:
        noise, residual = _noise(record, rows[1], rows[2:]), bool(record.flags & _RESIDUAL)
        return Sampled(geometry, whole, rows[0], noise, record.pooled, residual, record.window)
    return Classifier(geometry, whole, rows[0], rows[1])


def _noise(record: _Record, gain: NDArray[np.float32], biases: NDArray[np.float32]) -> Noise:
    bias = biases if record.population > 1 else biases[0]
    if not record.flags & _SYNAPSES:
        return Noise(gain, bias, record.variance, record.additive, record.layer)
    p = record.variance
    if not 0.0 < p < 1.0:
        raise ValueError(f"a synapse must transmit with p in (0, 1), got {p}")
    return Noise(gain, bias, p * (1.0 - p), record.additive, record.layer, transmission=p)
