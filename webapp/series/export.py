"""Every point of a run, in order of step, in blocks that fit in memory whatever the length of the
run.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from django.db import connection

from webapp.base.snapshot import snapshot
from webapp.runs.models import Run
from webapp.series import chunks
from webapp.series.curves import curves
from webapp.series.points import LEAST, MOST, NOWHERE, Loom, Points, joined

BLOCK = 200_000  # points that are held at once, about
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
SELECT chunk.first_step, sum(chunk.count) FROM metrics_chunk AS chunk JOIN metrics_series AS series ON series.id = chunk.series_id
WHERE series.run_id = %s AND (%s::text[] IS NULL OR series.key = ANY(%s::text[])) GROUP BY 1 ORDER BY 1
"""


def export_rows(
    run: Run, wanted: Sequence[str] | None = None, abandoned: bool = False
) -> Iterator[tuple[Any, ...]]:
    """(attempt, step, key, value, tokens, compute, wall time) of every point of the live branch,
    streamed in order of step.

    `wanted`: of these keys; `abandoned`: of abandoned tails too.
    """
    for block in blocks(run, wanted, abandoned):
        yield from zip(*(column.to_pylist() for column in block.columns), strict=True)


def export_parquet(
    run: Run, wanted: Sequence[str] | None = None, abandoned: bool = False
) -> Iterator[bytes]:
    """The same as a Parquet file, piece by piece."""
    sink = _Sink()
    with pyarrow.parquet.ParquetWriter(sink, SCHEMA, compression="zstd") as writer:
        for block in blocks(run, wanted, abandoned):
            writer.write_batch(block)
            yield sink.taken()
    yield sink.taken()


def blocks(
    run: Run, wanted: Sequence[str] | None, abandoned: bool
) -> Iterator[pyarrow.RecordBatch]:
    """Each block holds all points of some steps, as they are when it is read; blocks follow each
    other without overlap.
    """
    edges = _edges(run, wanted)
    for low, end in pairwise(edges):
        with snapshot():
            block = _block(run, wanted, abandoned, low, end - 1)
        if block.num_rows:
            yield block


def _edges(run: Run, wanted: Sequence[str] | None) -> list[int]:
    """Steps that cut the run into blocks, where chunks begin."""
    edges, size = [LEAST], 0
    keys = None if wanted is None else list(wanted)
    with connection.cursor() as cursor:
        cursor.execute(FIRST_STEPS, [run.pk, keys, keys])
        for first_step, count in cursor.fetchall():
            if size + count > BLOCK and size:
                edges.append(first_step)
                size = 0
            size += int(count)
    return [*edges, MOST + 1]


def _block(
    run: Run, wanted: Sequence[str] | None, abandoned: bool, low: int, high: int
) -> pyarrow.RecordBatch:
    parts = [
        (curve.key, part)
        for curve in curves([run], wanted, abandoned=abandoned)
        for part in curve.parts
    ]
    for _, part in parts:
        part.narrow(low, high)
    asked = [(key, part) for key, part in parts if part.extent()]
    stretches = [
        chunks.Stretch(part.known.pk if part.known else 0, part.low, part.high) for _, part in asked
    ]
    loom = Loom()
    found = [
        (
            key,
            part.attempt,
            loom.points([*part.counting(strands), *part.strands], part.low, part.high),
        )
        for (key, part), strands in zip(asked, chunks.fetch(stretches), strict=True)
    ]
    return _sorted([(key, attempt, points) for key, attempt, points in found if len(points)])


def _sorted(found: Sequence[tuple[str, int, Points]]) -> pyarrow.RecordBatch:
    """In order of (step, attempt, key, seq)."""
    names = sorted({key for key, _, _ in found})
    lengths = [len(points) for _, _, points in found]
    key = np.repeat(np.array([names.index(key) for key, _, _ in found], np.int32), lengths)
    attempt = np.repeat(np.array([attempt for _, attempt, _ in found], np.int32), lengths)
    places = joined([NOWHERE, *(points.places for _, _, points in found)])
    values = np.concatenate([NOWHERE.compute, *(points.values for _, _, points in found)])
    order = np.lexsort((places.seq, key, attempt, places.step))
    coded = pyarrow.DictionaryArray.from_arrays(key[order], pyarrow.array(names, pyarrow.string()))
    columns = [attempt, places.step, coded, values, places.tokens, places.compute, places.wall_time]
    return pyarrow.record_batch(
        [column if column is coded else column[order] for column in columns], schema=SCHEMA
    )


class _Sink(io.RawIOBase):
    """A file that is given away as it is written."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._waiting.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        taken, self._waiting = b"".join(self._waiting), []
        return taken
