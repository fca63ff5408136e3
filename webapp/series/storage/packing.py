"""Lossless compression of numeric columns.

Integers, and floats that grow slowly such as times, are stored as differences of neighbours (for
floats, of their bit patterns) in the narrowest integer type that holds them all. Other floats are
stored as float32 where that is exact, else as float64. The bytes of each column are transposed, so
that bytes of equal significance are neighbours, and everything is compressed by zstd.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Column = npt.NDArray[Any]

# This format is stored in every row of batches, axes, chunks and levels: a change must still read
# it. Number of columns, bytes before compression.
FRONT = struct.Struct("<HI")
# Kind, stored type, number of values, first value of a column of differences.
HEAD = struct.Struct("<ccIq")
# Differences of integers; of the bit patterns of floats; no differences.
WHOLE, BITS, PLAIN = b"w", b"b", b"p"
# Code, type, and the end of its range: `np.iinfo` takes longer than to pack a short column.
NARROW = (
    (b"1", np.int8, 2**7),
    (b"2", np.int16, 2**15),
    (b"4", np.int32, 2**31),
    (b"8", np.int64, 2**63),
)
SINGLE, DOUBLE = b"f", b"d"
STORED: dict[bytes, type] = {
    **{code: dtype for code, dtype, _ in NARROW},
    SINGLE: np.float32,
    DOUBLE: np.float64,
}
CODEC = pyarrow.Codec("zstd", compression_level=1)


def pack(columns: Sequence[Column]) -> bytes:
    """Return `columns`, which may have different lengths, as bytes."""
    heads, bodies = [], []
    for column in columns:
        kind, code, first, encoded = _encoded(column)
        heads.append(HEAD.pack(kind, code, len(column), first))
        bodies.append(_shuffled(encoded))
    body = b"".join(bodies)
    return b"".join(
        [FRONT.pack(len(columns), len(body)), *heads, CODEC.compress(body, asbytes=True)]
    )


def unpack(data: bytes | memoryview) -> list[Column]:
    """Return the columns that `pack` was given."""
    data = memoryview(data)
    count, size = FRONT.unpack_from(data)
    start = FRONT.size + count * HEAD.size
    body = memoryview(CODEC.decompress(data[start:], size))
    columns: list[Column] = []
    start_of_column = 0
    for kind, code, length, first in HEAD.iter_unpack(data[FRONT.size : start]):
        encoded: npt.NDArray[np.generic] = np.empty(0, STORED[code])
        # A column of differences has one number fewer in its body; the first value is in its head.
        if length > (kind != PLAIN):
            end = start_of_column + (length - (kind != PLAIN)) * encoded.itemsize
            encoded = _unshuffled(body[start_of_column:end], STORED[code], encoded.itemsize)
            start_of_column = end
        columns.append(
            encoded.astype(np.float64) if kind == PLAIN else _summed(kind, length, first, encoded)
        )
    return columns


def exact_single(values: Floats) -> npt.NDArray[np.bool_]:
    """Return which of `values` float32 holds exactly; NaN counts as exact."""
    with np.errstate(over="ignore"):
        return (values.astype(np.float32) == values) | np.isnan(values)


def _encoded(column: Column) -> tuple[bytes, bytes, int, npt.NDArray[np.generic]]:
    if column.dtype.kind == "i":
        return WHOLE, *_differences(column)
    if exact_single(column).all():
        return PLAIN, SINGLE, 0, column.astype(np.float32)
    # Floats of one sign are ordered as their bit patterns are, so that values which grow slowly
    # have small differences. Where these need 8 bytes, nothing is gained.
    code, first, steps = _differences(column.view(np.int64))
    return (PLAIN, DOUBLE, 0, column) if code == b"8" else (BITS, code, first, steps)


def _differences(column: npt.NDArray[np.int64]) -> tuple[bytes, int, npt.NDArray[np.generic]]:
    """Return (type code, first value, differences). Overflow wraps, and wraps back when summed."""
    if not len(column):
        return b"1", 0, column
    steps = np.diff(column)
    low, high = (int(steps.min()), int(steps.max())) if len(steps) else (0, 0)
    code, dtype = next((code, dtype) for code, dtype, end in NARROW if -end <= low and high < end)
    return code, int(column[0]), steps.astype(dtype)


def _summed(kind: bytes, length: int, first: int, steps: npt.NDArray[np.generic]) -> Column:
    column = np.empty(length, np.int64)
    if length:
        column[0] = first
        column[1:] = steps
        np.cumsum(column, out=column)
    return column.view(np.float64) if kind == BITS else column


def _unshuffled(data: memoryview, dtype: type, size: int) -> npt.NDArray[np.generic]:
    if size == 1:
        return np.frombuffer(data, dtype)
    return np.frombuffer(data, np.uint8).reshape(size, -1).T.copy().view(dtype).ravel()


def _shuffled(column: npt.NDArray[np.generic]) -> bytes:
    return np.ascontiguousarray(column).view(np.uint8).reshape(-1, column.itemsize).T.tobytes()
