"""Program files that no writer makes, generated from one that is whole."""

import hashlib
import struct
from collections.abc import Iterator

import numpy as np

from nsm.engine import files
from tests.engine.nets import compiled

HEADER, RECORD = 64, 144
# Offsets of the fields in the header and in a record, with their formats.
HEADER_FIELDS = {"magic": (0, "<Q"), "version": (8, "<I"), "steps": (12, "<I"), "size": (16, "<Q")}
HEADER_FIELDS |= {"vector": (24, "<I"), "zero": (28, "<I")}
_NAMES = [
    "kind",
    "channels",
    "height",
    "width",
    "neurons",
    "kernel_y",
    "kernel_x",
    "stride_y",
    "stride_x",
    "top",
    "left",
    "bottom",
    "right",
    "dilation_y",
    "dilation_x",
    "groups",
    "bits",
    "layer",
    "flags",
    "pooled",
    "population",
    "window_y",
    "window_x",
    "blank",
]
RECORD_FIELDS = {name: (4 * i, "<I") for i, name in enumerate(_NAMES)}
RECORD_FIELDS |= {"variance": (96, "<d"), "additive": (104, "<d")}
RECORD_FIELDS |= {
    name: (112 + 8 * i, "<Q") for i, name in enumerate(("weights", "bytes", "numbers", "their bytes"))
}
INTEGERS = (0, 1, 2, 3, 7, 255, 2**15, 2**15 + 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
REALS = (0.0, -1.0, float("nan"), float("inf"), -float("inf"), 5e-324, 1.7e308)


def whole(name: str = "averaged") -> bytes:
    program = compiled(name)
    return files.to_bytes(program.steps, vector=program.vector)


def signed(data: bytes) -> bytes:
    """The same bytes with the checksum that a writer would have given them."""
    if len(data) < HEADER:
        return data
    blank = data[:32] + bytes(32) + data[HEADER:]
    return data[:32] + hashlib.sha256(blank).digest() + data[HEADER:]


def steps_of(data: bytes) -> int:
    count: int = struct.unpack_from("<I", data, 12)[0]
    return count


def kind_of(data: bytes, step: int) -> tuple[int, int]:
    """The kind of a step and the bits of its weights."""
    at = HEADER + RECORD * step
    return struct.unpack_from("<I", data, at)[0], struct.unpack_from("<I", data, at + 64)[0]


def changed_fields(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Every field of the header and of the first record of a kind with each of some values, signed anew."""
    places = [(f"header {name}", 0, *field) for name, field in HEADER_FIELDS.items()]
    first = {kind_of(data, step): step for step in reversed(range(steps_of(data)))}
    for step in sorted(first.values()):
        at = HEADER + RECORD * step
        places += [(f"step {step} {name}", at, *field) for name, field in RECORD_FIELDS.items()]
    for name, base, offset, kind in places:
        for value in REALS if kind == "<d" else INTEGERS:
            if kind == "<I" and value >= 2**32:
                continue
            changed = bytearray(data)
            struct.pack_into(kind, changed, base + offset, value)
            if changed != data:
                yield f"{name} = {value}", signed(bytes(changed))


def truncated(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Cut at every field and every array, the size in the header as it was and as it should be."""
    cuts = {offset for offset, _ in HEADER_FIELDS.values()} | {32, HEADER}
    for step in range(steps_of(data)):
        at = HEADER + RECORD * step
        cuts |= {at + offset for offset, _ in RECORD_FIELDS.values()}
        start, size, numbers, count = struct.unpack_from("<4Q", data, at + 112)
        cuts |= {start, start + size // 2, start + size, numbers, numbers + count // 2}
    for cut in sorted(cuts):
        short = data[:cut]
        yield f"cut at {cut}", short
        if cut >= HEADER:
            fitting = bytearray(short)
            struct.pack_into("<Q", fitting, 16, cut)
            yield f"cut at {cut}, size corrected", signed(bytes(fitting))


def broken_values(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Values that are not finite or not positive, weights out of range, bytes between that are not 0."""
    for step in range(steps_of(data)):
        at = HEADER + RECORD * step
        kind, bits = kind_of(data, step)
        start, _, numbers, _ = struct.unpack_from("<4Q", data, at + 112)
        if not start:
            continue
        for value in (float("nan"), float("inf"), *((0.0, -1.0) if kind in (2, 5) else ())):
            changed = bytearray(data)
            struct.pack_into("<f", changed, numbers, value)
            yield f"step {step}: first number {value}", signed(bytes(changed))
        changed = bytearray(data)
        if bits == 32:
            struct.pack_into("<f", changed, start, float("nan"))
        else:
            changed[start] = {8: 0x80, 4: 0x88, 2: 0xAA, 1: 0xFF}[bits]
        if bits != 1:
            yield f"step {step}: weight out of range", signed(bytes(changed))
        changed = bytearray(data)
        changed[start - 1] ^= 1
        if start % 64 == 0 and not data[start - 1]:
            yield f"step {step}: a byte before its weights", signed(bytes(changed))


def flipped_bits(data: bytes, count: int) -> Iterator[tuple[str, bytes]]:
    """One bit changed, checksum as it was."""
    for place in np.random.default_rng(5).choice(8 * len(data), count, replace=False).tolist():
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        yield f"bit {place}", bytes(changed)


def surplus(data: bytes) -> Iterator[tuple[str, bytes]]:
    """More bytes than there should be, and files of another kind."""
    for extra in (b"\0", bytes(64), data):
        yield f"{len(extra)} bytes more", data + extra
        longer = bytearray(data + extra)
        struct.pack_into("<Q", longer, 16, len(longer))
        yield f"{len(extra)} bytes more, size corrected", signed(bytes(longer))
    for other in (b"", b"PK\x03\x04", b"\x89PNG\r\n\x1a\n" + bytes(100), data.replace(b"\r\n", b"\n", 1)):
        yield f"starts with {other[:8]!r}", other


def hostile(name: str = "averaged") -> list[tuple[str, bytes]]:
    """All of them; a few turn out to be whole files of another program."""
    data = whole(name)
    made = [
        truncated(data),
        changed_fields(data),
        broken_values(data),
        flipped_bits(data, 150),
        surplus(data),
    ]
    return [case for part in made for case in part]
