"""The part of protocol buffers' wire format that the readers need: the fields of a message."""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
Value = int | bytes


def fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Yield (number, value) of each field: a varint as an integer, everything else as bytes.

    Raises ValueError for a truncated message.
    """
    offset = 0
    while offset < len(message):
        tag, offset = _varint(message, offset)
        number, kind = tag >> 3, tag & 7
        if kind == VARINT:
            value, offset = _varint(message, offset)
            yield number, value
            continue
        if kind == BYTES:
            length, offset = _varint(message, offset)
        elif kind in (FIXED64, FIXED32):
            length = 8 if kind == FIXED64 else 4
        else:
            raise ValueError(f"field {number} has the unknown wire type {kind}")
        if offset + length > len(message):
            raise ValueError(f"field {number} is longer than the message")
        yield number, message[offset : offset + length]
        offset += length


def signed(value: int) -> int:
    """A varint read as int64."""
    return value - 2**64 if value >= 2**63 else value


def double(value: bytes) -> float:
    return float(struct.unpack("<d", value)[0])


def single(value: bytes) -> float:
    return float(struct.unpack("<f", value)[0])


def _varint(message: bytes, offset: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        # A varint of 64 bits has at most ten bytes.
        if offset >= len(message) or shift > 63:
            raise ValueError("a number breaks off")
        byte = message[offset]
        offset += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, offset
        shift += 7
