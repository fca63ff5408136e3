"""Stored levels of buckets for charts of long series: buckets of 2^6 steps, 2^8, 2^10 and so on.

Buckets of 2^7 steps are two of 2^6 merged. A level is stored where it saves work: its buckets hold
at least MIN_POINTS points on average, and there are at least MIN_BUCKETS of them. A chart of a
shorter or sparser series is computed from its points, which are then few. A row holds ROW_BUCKETS
aligned buckets, so that a growing run rewrites only the newest row of each level, and the thousand
buckets of a chart are a handful of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from django.db import connection

from webapp.series.models import Series
from webapp.series.storage import chunks
from webapp.series.storage.buckets import (
    NONE,
    Buckets,
    GridCache,
    concat_buckets,
    merge_buckets,
    pack_buckets,
    unpack_buckets,
)
from webapp.series.storage.points import INT64_MAX, INT64_MIN, Merger, Points

MIN_BITS, BITS_APART, MAX_BITS = 6, 2, 60
ALL_BITS = range(MIN_BITS, MAX_BITS + 1, BITS_APART)
# Stored in the key of each row (`Level.block`): another number needs a migration of all levels.
ROW_BITS = 8
ROW_BUCKETS = 2**ROW_BITS
MIN_POINTS, MIN_BUCKETS = 16, 128

READ = """
SELECT query.index, level.block, level.data
FROM unnest(%s::int8[], %s::int2[], %s::int8[], %s::int8[])
    WITH ORDINALITY AS query(series, bits, low, high, index)
JOIN metrics_level AS level ON level.series_id = query.series AND level.bits = query.bits
    AND level.block BETWEEN query.low AND query.high
ORDER BY query.index, level.block
"""
WRITE = """
INSERT INTO metrics_level (series_id, bits, block, data)
SELECT * FROM unnest(%s::int8[], %s::int2[], %s::int8[], %s::bytea[])
ON CONFLICT (series_id, bits, block) DO UPDATE SET data = excluded.data
"""


class LevelRange(NamedTuple):
    """Buckets `low` to `high`, both included, of a level of a series."""

    series: int
    bits: int
    low: int = INT64_MIN
    high: int = INT64_MAX


def levels(series: Series) -> list[int]:
    """Return the stored levels of a series as bits, finest first."""
    return [bits for bits in ALL_BITS if series.levels >> bits & 1]


def level_for(series: Series, bits: int) -> int | None:
    """Return the coarsest level from which buckets of 2^bits steps can be merged.

    For a thinned series, the finest level if all are coarser. None if there is no such level.
    """
    stored_levels = levels(series)
    return next(
        (level for level in reversed(stored_levels) if level <= bits),
        stored_levels[0] if series.thinned and stored_levels else None,
    )


def fetch(ranges: Sequence[LevelRange]) -> list[Buckets]:
    """Return the buckets of each range."""
    blocks = [
        (level.series, level.bits, level.low >> ROW_BITS, level.high >> ROW_BITS)
        for level in ranges
    ]
    rows_by_range: list[list[Buckets]] = [[] for _ in ranges]
    for index, _, data in _rows(blocks):
        rows_by_range[index - 1].append(unpack_buckets(data))
    # Rows are whole blocks; the first and last reach beyond the range.
    fetched = [concat_buckets(rows) for rows in rows_by_range]
    return [
        buckets.take((buckets.index >= level.low) & (buckets.index <= level.high))
        for buckets, level in zip(fetched, ranges, strict=True)
    ]


def add(added: Iterable[tuple[Series, Points]]) -> None:
    """Add new points to the levels of each series.

    The points must be in the chunks and the summary columns of the series already.
    """
    grid_cache, changes = GridCache(), _Changes()
    for series, points in added:
        buckets: Buckets | None = None
        below = 0
        for bits in levels(series):
            # Made from the level below, which has fewer buckets than there are points. That level
            # may be many bits finer: a jump of the steps makes a series too sparse for new levels
            # of few steps, while those that it has stay.
            buckets = (
                grid_cache.buckets(points, bits)
                if buckets is None
                else merge_buckets([buckets.coarser(bits - below)])
            )
            below = bits
            changes.add(series, bits, buckets)
    changes.store()
    # Afterwards, because a new level is made from the level below it, which must have the new
    # points.
    for series, _ in added:
        _create_missing(series)


def _create_missing(series: Series) -> None:
    """Create the levels that the series has become long enough for."""
    for bits in _needed(series):
        if not series.levels >> bits & 1:
            below = [level for level in levels(series) if level < bits]
            if below:
                (finer,) = fetch([LevelRange(series.pk, below[-1])])
                buckets = merge_buckets([finer.coarser(bits - below[-1])])
            else:
                (value_parts,) = chunks.fetch([chunks.StepRange(series.pk)])
                buckets = GridCache().buckets(Merger().points(value_parts), bits)
            changes = _Changes()
            changes.add(series, bits, buckets)
            changes.store()
            series.levels |= 1 << bits


def _needed(series: Series) -> list[int]:
    # A thinned series has no points left to make levels from.
    if series.thinned:
        return []
    extent = series.last_step - series.first_step + 1
    # count / (extent / 2^bits) points in a bucket, in whole numbers, which are exact at any size.
    return [
        bits
        for bits in ALL_BITS
        if series.count << bits >= MIN_POINTS * extent and extent >> bits >= MIN_BUCKETS
    ]


class _Changes:
    """Buckets to merge into what is stored, block by block."""

    def __init__(self) -> None:
        self._changed: dict[tuple[int, int, int], Buckets] = {}

    def add(self, series: Series, bits: int, buckets: Buckets) -> None:
        blocks = buckets.index >> ROW_BITS
        edges = [0, *(np.flatnonzero(np.diff(blocks)) + 1), len(blocks)]
        for start, stop in pairwise(edges):
            if stop > start:
                self._changed[series.pk, bits, int(blocks[start])] = buckets.take(
                    slice(start, stop)
                )

    def store(self) -> None:
        blocks = list(self._changed)
        buckets_by_block = dict.fromkeys(blocks, NONE)
        for index, _, data in _rows(
            [(series, bits, block, block) for series, bits, block in blocks]
        ):
            buckets_by_block[blocks[index - 1]] = unpack_buckets(data)
        blobs = [
            pack_buckets(merge_buckets([buckets_by_block[block], self._changed[block]]))
            for block in blocks
        ]
        if blocks:
            with connection.cursor() as cursor:
                cursor.execute(WRITE, [*map(list, zip(*blocks, strict=True)), blobs])


def _rows(blocks: Sequence[tuple[int, int, int, int]]) -> list[tuple[int, int, bytes]]:
    if not blocks:
        return []
    with connection.cursor() as cursor:
        cursor.execute(READ, [*map(list, zip(*blocks, strict=True))])
        return cursor.fetchall()
