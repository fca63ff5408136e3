"""Export of every point of a run in order of step, in blocks that fit in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from django.db import connection

from webapp.base.read_snapshot import snapshot
from webapp.runs.models import Run
from webapp.series.curves import curves
from webapp.series.storage import chunks
from webapp.series.storage.points import INT64_MAX, INT64_MIN, NO_POSITIONS, Merger, Points, joined

# Approximate number of points in memory at once: seven columns, about 10 MB.
BLOCK = 200_000
SCHEMA = pyarrow.schema(
    [
        ("attempt", pyarrow.int32()),
        ("step", pyarrow.int64()),
        ("key", pyarrow.dictionary(pyarrow.int32(), pyarrow.string())),
        ("value", pyarrow.float64()),
        ("tokens", pyarrow.int64()),
        ("compute", pyarrow.float64()),
        ("wall_time", pyarrow.float64()),
    ]
)
COLUMNS = tuple(SCHEMA.names)

FIRST_STEPS = """
SELECT chunk.first_step, sum(chunk.count)
FROM metrics_chunk AS chunk JOIN metrics_series AS series ON series.id = chunk.series_id
WHERE series.run_id = %s AND (%s::text[] IS NULL OR series.key = ANY(%s::text[]))
GROUP BY 1 ORDER BY 1
"""


def export_rows(
    run: Run, keys: Sequence[str] | None = None, abandoned: bool = False
) -> Iterator[tuple[Any, ...]]:
    """Yield (attempt, step, key, value, tokens, compute, wall time) of every point, by step.

    Only of `keys`, if given, and of the live branch; with `abandoned` also of abandoned tails.
    """
    for block in blocks(run, keys, abandoned):
        yield from zip(*(column.to_pylist() for column in block.columns), strict=True)


def export_parquet(
    run: Run, keys: Sequence[str] | None = None, abandoned: bool = False
) -> Iterator[bytes]:
    """Yield the points of `export_rows` as the bytes of a Parquet file."""
    sink = _Sink()
    with pyarrow.parquet.ParquetWriter(sink, SCHEMA, compression="zstd") as writer:
        for block in blocks(run, keys, abandoned):
            writer.write_batch(block)
            yield sink.take()
    yield sink.take()


def blocks(run: Run, keys: Sequence[str] | None, abandoned: bool) -> Iterator[pyarrow.RecordBatch]:
    """Yield blocks that each hold all points of a range of steps; the ranges do not overlap.

    Each block is one consistent snapshot of the database, but the blocks are read one after
    another.
    """
    for low, end in pairwise(_edges(run, keys)):
        # One snapshot for the whole export would stay open as long as the slowest client reads.
        with snapshot():
            block = _block(run, keys, abandoned, low, end - 1)
        if block.num_rows:
            yield block


def _edges(run: Run, keys: Sequence[str] | None) -> list[int]:
    """Return the steps that cut the run into blocks; they are first steps of chunks."""
    edges, size = [INT64_MIN], 0
    key_list = None if keys is None else list(keys)
    with connection.cursor() as cursor:
        cursor.execute(FIRST_STEPS, [run.pk, key_list, key_list])
        for first_step, count in cursor.fetchall():
            # Points of one step are never parted, however many series have it.
            if size + count > BLOCK and size:
                edges.append(first_step)
                size = 0
            size += int(count)
    # Points that wait in the tail are in no chunk; the first and last blocks reach to the ends.
    return [*edges, INT64_MAX + 1]


def _block(
    run: Run, keys: Sequence[str] | None, abandoned: bool, low: int, high: int
) -> pyarrow.RecordBatch:
    segments = [
        (curve.key, segment)
        for curve in curves([run], keys, abandoned=abandoned)
        for segment in curve.segments
    ]
    for _, segment in segments:
        segment.narrow(low, high)
    in_block = [(key, segment) for key, segment in segments if segment.extent()]
    step_ranges = [
        chunks.StepRange(segment.series.pk if segment.series else 0, segment.low, segment.high)
        for _, segment in in_block
    ]
    merger = Merger()
    points_by_key = [
        (
            key,
            segment.attempt,
            merger.points(
                [*segment.counting(value_parts), *segment.tail], segment.low, segment.high
            ),
        )
        for (key, segment), value_parts in zip(in_block, chunks.fetch(step_ranges), strict=True)
    ]
    return _sorted([row for row in points_by_key if len(row[2])])


def _sorted(points_by_key: Sequence[tuple[str, int, Points]]) -> pyarrow.RecordBatch:
    """Return a record batch in order of (step, attempt, key, seq)."""
    names = sorted({key for key, _, _ in points_by_key})
    lengths = [len(points) for _, _, points in points_by_key]
    key = np.repeat(np.array([names.index(key) for key, _, _ in points_by_key], np.int32), lengths)
    attempt = np.repeat(np.array([attempt for _, attempt, _ in points_by_key], np.int32), lengths)
    positions = joined([NO_POSITIONS, *(points.positions for _, _, points in points_by_key)])
    values = np.concatenate(
        [NO_POSITIONS.compute, *(points.values for _, _, points in points_by_key)]
    )
    order = np.lexsort((positions.seq, key, attempt, positions.step))
    coded = pyarrow.DictionaryArray.from_arrays(key[order], pyarrow.array(names, pyarrow.string()))
    columns = [
        attempt,
        positions.step,
        coded,
        values,
        positions.tokens,
        positions.compute,
        positions.wall_time,
    ]
    return pyarrow.record_batch(
        [column if column is coded else column[order] for column in columns], schema=SCHEMA
    )


class _Sink(io.RawIOBase):
    """A file whose content is taken out while it is written."""

    def __init__(self) -> None:
        self._buffer: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._buffer.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        data, self._buffer = b"".join(self._buffer), []
        return data
