"""Series as charts draw them: the live branch of each run, whole where it is short, in buckets where it is long.

Buckets are powers of two on the chosen axis, anchored at 0, so that they stay where they are while a run grows; each keeps mean, minimum
and maximum, so that a spike of one step is seen at any width.

NaN and infinities, once and for all: the table's double precision holds them. A bucket's mean, min and max are over its finite values; one
that has none carries its last value instead. JSON has no such numbers, so `Series.json` writes them as the strings "NaN", "Infinity" and
"-Infinity", as the event log does. `marks` lists every non-finite point as (x, value), at most `width` of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.db import connection

from webapp.runs import branches
from webapp.runs.models import Run

Axis = Literal["step", "tokens", "time", "compute"]
EXPRESSION: dict[Axis, str] = {
    "step": "step::float8",
    "tokens": "tokens::float8",
    "compute": "compute",
    "time": "wall_time - %(origin)s",
}
FINITE = "value - value = 0"


@dataclass(frozen=True)
class Series:
    """One key of one run. `count` values lie in the range asked for, `points` of them are returned; `attempts` contributed."""

    run: str
    key: str
    x: list[float]
    mean: list[float]
    min: list[float]
    max: list[float]
    last: list[float]
    count: int
    points: int
    attempts: list[int]
    marks: list[tuple[float, float]]

    def json(self) -> dict[str, Any]:
        """The same as plain JSON."""
        columns = {name: [plain(value) for value in getattr(self, name)] for name in ("x", "mean", "min", "max", "last")}
        marks = [[x, plain(value)] for x, value in self.marks]
        facts = {"count": self.count, "points": self.points, "attempts": self.attempts}
        return {"run": self.run, "key": self.key, **columns, **facts, "marks": marks}


@dataclass(frozen=True)
class Selection:
    """Points of one run: an SQL expression of their x, a condition, and the values that both need."""

    run: Run
    x: str
    where: str
    values: dict[str, Any]


def read(
    runs: Iterable[Run],
    keys: Sequence[str] | None,
    axis: Axis = "step",
    start: float | None = None,
    stop: float | None = None,
    width: int = 1000,
    since: int | None = None,
) -> list[Series]:
    """The series `keys` (None: all) of `runs` for x in [start, stop], each in about `width` buckets; only past batch `since` if given."""
    found: list[Series] = []
    for run in runs:
        selection = _selection(run, keys, axis, start, stop, since)
        for key, extent in _extents(selection).items():
            bucket = _bucket_size(extent.low, extent.high, width)
            x, mean, lows, highs, last = _points(selection, key) if extent.count <= width else _buckets(selection, key, bucket)
            marks = _marks(selection, key, width) if extent.broken else []
            found.append(Series(run.public_id, key, x, mean, lows, highs, last, extent.count, len(x), extent.attempts, marks))
    return found


def places(run: Run, key: str, axis: Axis, steps: Iterable[int]) -> dict[int, float]:
    """Where each of `steps` lies on `axis`, for those at which `key` was recorded."""
    selection = _selection(run, [key], axis, None, None, None)
    found = _rows(
        f"SELECT step, min({selection.x}) FROM metrics_point WHERE {selection.where} AND step = ANY(%(steps)s) GROUP BY step",
        {**selection.values, "steps": list(steps)},
    )
    return dict(found)


def plain(value: float) -> float | str:
    """A number as JSON can hold it."""
    if math.isfinite(value):
        return int(value) if value == int(value) and abs(value) < 2**53 else value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _selection(run: Run, keys: Sequence[str] | None, axis: Axis, start: float | None, stop: float | None, since: int | None) -> Selection:
    x = EXPRESSION[axis]
    place = "step" if axis == "step" else x  # the bare column is what the index knows
    values: dict[str, Any] = {"run": run.pk, "origin": run.started_at.timestamp() if run.started_at else 0.0}
    conditions = ["run_id = %(run)s", branches.live_sql(run)]
    for name, limit, condition in (
        ("keys", None if keys is None else list(keys), "key = ANY(%(keys)s)"),
        ("start", start, f"{place} >= %(start)s"),
        ("stop", stop, f"{place} <= %(stop)s"),
        ("since", since, "news > %(since)s"),
    ):
        if limit is not None:
            values[name] = limit
            conditions.append(condition)
    for name, whole in (("start", math.ceil), ("stop", math.floor)):
        if axis == "step" and name in values:
            values[name] = max(-(2**62), min(2**62, whole(values[name])))
    return Selection(run, x, " AND ".join(conditions), values)


@dataclass
class Extent:
    """What a key has in a selection: how many points, from where to where, of which attempts, and how many that are not finite."""

    count: int
    low: float
    high: float
    broken: int
    attempts: list[int]


def _extents(selection: Selection) -> dict[str, Extent]:
    found: dict[str, Extent] = {}
    for key, attempt, count, low, high, broken in _rows(
        f"SELECT key, attempt, count(*), min({selection.x}), max({selection.x}), count(*) FILTER (WHERE NOT {FINITE}) "
        f"FROM metrics_point WHERE {selection.where} GROUP BY key, attempt ORDER BY key, attempt",
        selection.values,
    ):
        part = Extent(count, low, high, broken, [attempt])
        known = found.get(key)
        found[key] = part if known is None else _joined(known, part)
    return found


def _joined(one: Extent, other: Extent) -> Extent:
    low, high = min(one.low, other.low), max(one.high, other.high)
    return Extent(one.count + other.count, low, high, one.broken + other.broken, one.attempts + other.attempts)


def _points(selection: Selection, key: str) -> tuple[list[float], ...]:
    found = _rows(
        f"SELECT {selection.x} AS x, value FROM metrics_point WHERE {selection.where} AND key = %(key)s ORDER BY x, attempt, seq",
        {**selection.values, "key": key},
    )
    x, y = [row[0] for row in found], [row[1] for row in found]
    return x, y, y, y, y


def _buckets(selection: Selection, key: str, size: float) -> tuple[list[float], ...]:
    """The mean is a sum of clamped values over their number: avg() also sums squares, which overflow from 1e154 on."""
    values = {**selection.values, "key": key, "size": size}
    found = _rows(
        f"""
        SELECT sum(x) / count(*),
               sum(greatest(least(finite, 1e300), -1e300)) FILTER (WHERE finite IS NOT NULL) / nullif(count(finite), 0),
               min(finite), max(finite), max(step)
        FROM (SELECT {selection.x} AS x, step, CASE WHEN {FINITE} THEN value END AS finite
              FROM metrics_point WHERE {selection.where} AND key = %(key)s) AS points
        GROUP BY floor(x / %(size)s) ORDER BY 1
        """,
        values,
    )
    ends = _rows(
        f"SELECT DISTINCT ON (step) step, value FROM metrics_point WHERE {selection.where} AND key = %(key)s AND step = ANY(%(steps)s) "
        "ORDER BY step, attempt DESC, seq DESC",
        {**values, "steps": [row[4] for row in found]},
    )
    last = dict(ends)
    whole = [
        (x, last[step], last[step], last[step], last[step]) if mean is None else (x, mean, low, high, last[step])
        for x, mean, low, high, step in found
    ]
    return tuple(list(column) for column in zip(*whole, strict=True))


def _marks(selection: Selection, key: str, width: int) -> list[tuple[float, float]]:
    return _rows(
        f"SELECT {selection.x} AS x, value FROM metrics_point WHERE {selection.where} AND key = %(key)s AND NOT {FINITE} "
        "ORDER BY x LIMIT %(width)s",
        {**selection.values, "key": key, "width": width},
    )


def _bucket_size(low: float, high: float, width: int) -> float:
    """The smallest power of two that cuts [low, high] into at most about `width` buckets."""
    return 2.0 ** math.ceil(math.log2((high - low) / width)) if high > low else 1.0


def _rows(sql: str, values: dict[str, Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()
