"""Levels of buckets over long series: 2^6 steps, 2^8, 2^10 and so on. What lies between is two of
them merged.

A level is kept where it saves work: its buckets hold SPARSE points or more on average, and there
are more than FEW of them. A chart of a shorter or sparser series is made of its points, which are
then few. A row holds WIDE buckets, aligned, so that a growing run rewrites only the newest row of
each level and a chart's thousand buckets are a handful of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from django.db import connection

from webapp.series import chunks
from webapp.series.buckets import NONE, Buckets, Grids, joined, merged, packed, unpacked
from webapp.series.models import Series
from webapp.series.points import LEAST, MOST, Loom, Points

LOWEST, APART, HIGHEST = 6, 2, 60
WIDE_BITS = 8
WIDE = 2**WIDE_BITS
SPARSE, FEW = 16, 128

READ = """
SELECT asked.place, level.block, level.data
FROM unnest(%s::int8[], %s::int2[], %s::int8[], %s::int8[]) WITH ORDINALITY AS asked(series, bits, low, high, place)
JOIN metrics_level AS level ON level.series_id = asked.series AND level.bits = asked.bits AND level.block BETWEEN asked.low AND asked.high
ORDER BY asked.place, level.block
"""
WRITE = """
INSERT INTO metrics_level (series_id, bits, block, data) SELECT * FROM unnest(%s::int8[], %s::int2[], %s::int8[], %s::bytea[])
ON CONFLICT (series_id, bits, block) DO UPDATE SET data = excluded.data
"""


class Part(NamedTuple):
    """Buckets `low` to `high`, both included, of a level of a series."""

    series: int
    bits: int
    low: int = LEAST
    high: int = MOST


def levels(series: Series) -> list[int]:
    """The levels that are kept of a series, finest first."""
    return [bits for bits in range(LOWEST, HIGHEST + 1, APART) if series.levels >> bits & 1]


def level_for(series: Series, bits: int) -> int | None:
    """The coarsest level that makes buckets of 2^bits steps; of a series without its points the
    finest there is, if all are coarser.
    """
    kept = levels(series)
    return next(
        (level for level in reversed(kept) if level <= bits),
        kept[0] if series.thinned and kept else None,
    )


def fetch(asked: Sequence[Part]) -> list[Buckets]:
    """The buckets of each part."""
    blocks = [
        (part.series, part.bits, part.low >> WIDE_BITS, part.high >> WIDE_BITS) for part in asked
    ]
    found: list[list[Buckets]] = [[] for _ in asked]
    for place, _, data in _rows(blocks):
        found[place - 1].append(unpacked(data))
    whole = [joined(rows) for rows in found]
    return [
        one.take((one.index >= part.low) & (one.index <= part.high))
        for one, part in zip(whole, asked, strict=True)
    ]


def add(fresh: Iterable[tuple[Series, Points]]) -> None:
    """Bring the levels of each series up to its new points, which are in its chunks and in its
    count already.
    """
    grids, changes = Grids(), _Changes()
    for series, points in fresh:
        kept = levels(series)
        below: Buckets | None = None
        for bits in kept:
            below = grids.buckets(points, bits) if below is None else merged([below.coarser(APART)])
            changes.add(series, bits, below)
    changes.store()
    for series, _ in fresh:
        begin(series)


def begin(series: Series) -> None:
    """Make the levels that a series has grown to need."""
    for bits in _needed(series):
        if not series.levels >> bits & 1:
            below = [level for level in levels(series) if level < bits]
            changes = _Changes()
            changes.add(
                series,
                bits,
                _from_level(series, below[-1], bits) if below else _from_points(series, bits),
            )
            changes.store()
            series.levels |= 1 << bits


def _needed(series: Series) -> list[int]:
    extent = series.last_step - series.first_step + 1
    every = range(LOWEST, HIGHEST + 1, APART)
    return (
        []
        if series.thinned
        else [
            bits
            for bits in every
            if series.count << bits >= SPARSE * extent and extent >> bits >= FEW
        ]
    )


def _from_level(series: Series, level: int, bits: int) -> Buckets:
    (buckets,) = fetch([Part(series.pk, level)])
    return merged([buckets.coarser(bits - level)])


def _from_points(series: Series, bits: int) -> Buckets:
    (strands,) = chunks.fetch([chunks.Stretch(series.pk)])
    return Grids().buckets(Loom().points(strands), bits)


class _Changes:
    """Buckets to merge into what is stored, block by block."""

    def __init__(self) -> None:
        self._changed: dict[tuple[int, int, int], Buckets] = {}

    def add(self, series: Series, bits: int, buckets: Buckets) -> None:
        blocks = buckets.index >> WIDE_BITS
        edges = [0, *(np.flatnonzero(np.diff(blocks)) + 1), len(blocks)]
        for start, stop in pairwise(edges):
            if stop > start:
                self._changed[series.pk, bits, int(blocks[start])] = buckets.take(
                    slice(start, stop)
                )

    def store(self) -> None:
        places = list(self._changed)
        stored = dict.fromkeys(places, NONE)
        for at, _, data in _rows([(series, bits, block, block) for series, bits, block in places]):
            stored[places[at - 1]] = unpacked(data)
        blobs = [packed(merged([stored[place], self._changed[place]])) for place in places]
        if places:
            with connection.cursor() as cursor:
                cursor.execute(WRITE, [*map(list, zip(*places, strict=True)), blobs])


def _rows(blocks: Sequence[tuple[int, int, int, int]]) -> list[tuple[int, int, bytes]]:
    if not blocks:
        return []
    with connection.cursor() as cursor:
        cursor.execute(READ, [*map(list, zip(*blocks, strict=True))])
        return cursor.fetchall()
