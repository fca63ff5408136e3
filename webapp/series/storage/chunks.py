"""Chunks in the database: values of one key, and their axis, which keys share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from django.db import connection
from django.db.models import Max, Q

from webapp.series.models import SMALL, Axis, Chunk, Series
from webapp.series.storage.packing import Floats, pack, unpack
from webapp.series.storage.points import INT64_MAX, INT64_MIN, KeyValues, Points, Positions

# Largest number of values in a chunk of an unfinished run. A chart unpacks whole chunks for the
# points at the two edges of its range.
LARGEST = 8192

OVERLAPPING = """
FROM unnest(%(series)s::int8[], %(low)s::int8[], %(high)s::int8[])
    WITH ORDINALITY AS query(series, low, high, index)
JOIN metrics_chunk AS chunk ON chunk.series_id = query.series
    AND chunk.last_step >= query.low AND chunk.first_step <= query.high
"""
ALL = f"SELECT index, axis_id, data {OVERLAPPING} ORDER BY index, first_step, id"
IN_TIME = """
SELECT index, axis_id, chunk.data
FROM unnest(%(series)s::int8[], %(low)s::int8[], %(high)s::int8[], %(from)s::float8[],
    %(to)s::float8[]) WITH ORDINALITY AS query(series, low, high, since, until, index)
JOIN metrics_chunk AS chunk ON chunk.series_id = query.series
    AND chunk.last_step >= query.low AND chunk.first_step <= query.high
JOIN metrics_axis AS axis ON axis.id = axis_id
    AND high_time >= query.since AND low_time <= query.until
ORDER BY index, first_step, chunk.id
"""
NOT_FINITE = f"""
SELECT index, id, first_step, last_step,
    CASE WHEN first_step >= low AND last_step <= high THEN not_finite ELSE 0 END
{OVERLAPPING} AND not_finite > 0
"""


class StepRange(NamedTuple):
    """Steps `low` to `high`, both included, of a series."""

    series: int
    low: int = INT64_MIN
    high: int = INT64_MAX


def fetch(step_ranges: Sequence[StepRange]) -> list[list[KeyValues]]:
    """Return the whole chunks that overlap each range, in order of their first step."""
    return _fetch(ALL, step_ranges, {})


def fetch_not_finite(step_ranges: Sequence[StepRange], limit: int) -> list[list[KeyValues]]:
    """Return chunks with values that are not finite, enough for the first `limit` such values.

    Like `fetch`, one list for each range.
    """
    by_range: list[list[KeyValues]] = [[] for _ in step_ranges]
    if not step_ranges:
        return by_range
    selected: list[tuple[int, int]] = []
    rows = np.array(_rows(NOT_FINITE, step_ranges, {}), np.int64).reshape(-1, 5)
    for index in np.unique(rows[:, 0]):
        _, ids, first, last, not_finite = rows[rows[:, 0] == index].T
        order = np.argsort(last)
        # Number of such values in chunks that end before a step. A chunk that the range cuts counts
        # as 0, because its values may lie outside.
        ended = np.concatenate([[0], np.cumsum(not_finite[order])])
        before = ended[np.searchsorted(last[order], first)]
        selected += [(int(index) - 1, pk) for pk in ids[before < limit].tolist()]
    opened = Chunk.objects.in_bulk([pk for _, pk in selected])
    positions = axes({chunk.axis_id for chunk in opened.values()})
    for index, pk in selected:
        by_range[index].append(KeyValues(positions[opened[pk].axis_id], values(opened[pk])))
    return by_range


def overlapping(wanted: Sequence[tuple[Series, Positions]]) -> list[list[KeyValues]]:
    """Return, for each series, its chunks that may hold points at the steps and times given."""
    step_ranges = [
        StepRange(series.pk, int(positions.step.min()), int(positions.step.max()))
        for series, positions in wanted
    ]
    times = [positions.wall_time for _, positions in wanted]
    return _fetch(
        IN_TIME,
        step_ranges,
        {
            "from": [float(column.min()) for column in times],
            "to": [float(column.max()) for column in times],
        },
    )


def last_before(series: Series, high: int) -> list[KeyValues]:
    """Return the chunks that may hold the last point up to step `high`."""
    started = Chunk.objects.filter(series=series, first_step__lte=high)
    last_complete = started.filter(last_step__lte=high).aggregate(last=Max("last_step"))["last"]
    # A chunk that reaches beyond `high` may hold a later point up to it than those that end before.
    candidates = list(started.filter(Q(last_step__gt=high) | Q(last_step=last_complete)))
    positions = axes({chunk.axis_id for chunk in candidates})
    return [KeyValues(positions[chunk.axis_id], values(chunk)) for chunk in candidates]


def _fetch(
    sql: str, step_ranges: Sequence[StepRange], columns: Mapping[str, list[float]]
) -> list[list[KeyValues]]:
    by_range: list[list[KeyValues]] = [[] for _ in step_ranges]
    rows = _rows(sql, step_ranges, columns)
    # In a second query, because keys that share an axis would each get a copy of it by a join.
    positions = axes({axis for _, axis, _ in rows})
    for index, axis, data in rows:
        (column,) = unpack(data)
        by_range[index - 1].append(KeyValues(positions[axis], column))
    return by_range


def _rows(
    sql: str, step_ranges: Sequence[StepRange], columns: Mapping[str, list[float]]
) -> list[Any]:
    if not step_ranges:
        return []
    with connection.cursor() as cursor:
        limits: dict[str, Any] = dict(
            zip(("series", "low", "high"), map(list, zip(*step_ranges, strict=True)), strict=True)
        )
        cursor.execute(sql, {**limits, **columns})
        return cursor.fetchall()


def axes(ids: Iterable[int]) -> dict[int, Positions]:
    """Return the positions of axes by their ids."""
    axis_ids = list(ids)
    rows = Axis.objects.filter(pk__in=axis_ids).values_list("pk", "data") if axis_ids else ()
    return {pk: Positions(*unpack(data)) for pk, data in rows}


def axes_of(run: int, attempt: int) -> list[Positions]:
    """Return all positions of an attempt."""
    return list(
        axes(Axis.objects.filter(run=run, attempt=attempt).values_list("pk", flat=True)).values()
    )


def small(series: Iterable[Series]) -> dict[int, list[Chunk]]:
    """Return the chunks of each series that are replaced when it grows."""
    by_series: dict[int, list[Chunk]] = {}
    for chunk in Chunk.objects.filter(series__in=list(series), count__lt=SMALL).order_by("pk"):
        by_series.setdefault(chunk.series_id, []).append(chunk)
    return by_series


def values(chunk: Chunk) -> Floats:
    """Return the values of a chunk."""
    (column,) = unpack(chunk.data)
    return column


def write(
    run: int, attempt: int, series: Sequence[tuple[Series, Points]], largest: int = LARGEST
) -> None:
    """Store the points of each series in chunks of about equal size, at most `largest` values."""
    # Keys that were logged together share one Positions object, and so one axis row. The dictionary
    # keeps the object, so that its id is not used again for another one.
    axis_by_cut: dict[tuple[int, int], tuple[Positions, Axis]] = {}
    cuts: list[tuple[Series, Axis, Positions, Points]] = []
    for row, points in series:
        for start, stop in _cuts(len(points), largest):
            key = (id(points.positions), start)
            if key not in axis_by_cut:
                axis_by_cut[key] = (
                    points.positions,
                    _axis(run, attempt, points.positions.take(slice(start, stop))),
                )
            cuts.append(
                (
                    row,
                    axis_by_cut[key][1],
                    points.positions,
                    Points(points.positions.take(slice(start, stop)), points.values[start:stop]),
                )
            )
    ids = _save_axes(run, attempt, {bytes(axis.digest): axis for _, axis in axis_by_cut.values()})
    Chunk.objects.bulk_create(
        Chunk(
            series=row,
            axis_id=ids[bytes(axis.digest)],
            count=len(points),
            not_finite=int((~np.isfinite(points.values)).sum()),
            first_step=int(points.positions.step[0]),
            last_step=int(points.positions.step[-1]),
            data=pack([points.values]),
        )
        for row, axis, _, points in cuts
    )


def drop(chunks: Iterable[Chunk]) -> None:
    """Delete chunks, and axes that no chunk uses any more."""
    dropped = list(chunks)
    Chunk.objects.filter(pk__in=[chunk.pk for chunk in dropped]).delete()
    # Keys that were logged together share an axis: another one may still use it.
    Axis.objects.filter(pk__in={chunk.axis_id for chunk in dropped}, chunk=None).delete()


def _cuts(length: int, largest: int) -> list[tuple[int, int]]:
    count = max(1, -(-length // largest))  # rounded up
    edges = [length * index // count for index in range(count + 1)]
    return [(start, stop) for start, stop in pairwise(edges) if stop > start]


def _axis(run: int, attempt: int, positions: Positions) -> Axis:
    data = pack(positions.columns())
    extents = {}
    for name, column in (
        ("tokens", positions.tokens),
        ("compute", positions.compute),
        ("time", positions.wall_time),
    ):
        extents[f"low_{name}"], extents[f"high_{name}"] = column.min().item(), column.max().item()
    return Axis(
        run_id=run,
        attempt=attempt,
        digest=hashlib.blake2b(data, digest_size=16).digest(),
        data=data,
        **extents,
    )


def _save_axes(run: int, attempt: int, axes: dict[bytes, Axis]) -> dict[bytes, int]:
    """Insert the axes that are new; return the id of each by its digest."""
    # Postgres returns no id for a row that was there already, so that all are read again.
    Axis.objects.bulk_create(axes.values(), ignore_conflicts=True)
    rows = Axis.objects.filter(run=run, attempt=attempt, digest__in=list(axes)).values_list(
        "digest", "pk"
    )
    return {bytes(digest): pk for digest, pk in rows}
