"""Series as charts draw them: short live branches point by point, long ones in buckets.

A bucket covers a power of two of steps, aligned to step 0, so that its edges do not move while a
run grows. It keeps mean, minimum and maximum, so that a spike of one step is visible at any width.
On the axes of tokens, time and compute the same buckets are drawn at the average x of their points.
A series that does not grow along an axis (its clock went back, or several points share a step) is
put into buckets of powers of two on that axis instead.

NaN and infinities: the store keeps them. A bucket's mean, min and max are over its finite values; a
bucket without finite values has its last value instead. JSON has no such numbers, so
`ChartSeries.json` writes them as the strings "NaN", "Infinity" and "-Infinity", as the event log
does. `marks` lists every non-finite point as (x, value), at most `width` of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from trainer import json_numbers
from webapp.base.read_snapshot import snapshot
from webapp.runs.models import Run
from webapp.series.chart_data import draw, singles
from webapp.series.chart_query import ChartData, ChartQuery
from webapp.series.curves import Curve, XRange, curves, grows, limit, origin
from webapp.series.models import Log
from webapp.series.storage.bucket_levels import levels
from webapp.series.storage.points import Axis, Merger


@dataclass(frozen=True)
class ChartSeries:
    """One key of one run: `count` values in the requested range, drawn as `points` points.

    `attempts` are those that contributed. `thinned` is the width in steps of the finest bucket once
    single points were dropped; 0 means that all points are kept.
    """

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
    thinned: int = 0

    def json(self) -> dict[str, Any]:
        """Return the series as JSON values."""
        columns = {
            name: _plain_column(getattr(self, name)) for name in ("x", "mean", "min", "max", "last")
        }
        return {
            "run": self.run,
            "key": self.key,
            **columns,
            "count": self.count,
            "points": self.points,
            "attempts": self.attempts,
            "thinned": self.thinned,
            "marks": [[json_number(x), json_number(value)] for x, value in self.marks],
        }


def read(
    runs: Iterable[Run],
    keys: Sequence[str] | None,
    axis: Axis = "step",
    start: float | None = None,
    stop: float | None = None,
    width: int = 1000,
) -> list[ChartSeries]:
    """Return the series `keys` (None: all) of `runs` for x in [start, stop].

    Each has at most about `width` points or buckets.
    """
    low, high = -math.inf if start is None else start, math.inf if stop is None else stop
    with snapshot():
        merger = Merger()
        queries = [_chart_query(curve, axis, low, high, merger) for curve in curves(runs, keys)]
        if axis != "step" and (start, stop) != (None, None):
            limit(
                [
                    (segment, query.x_range)
                    for query in queries
                    if query.ordered
                    for segment in query.curve.segments
                ],
                axis,
            )
        draw(queries, axis, width, merger)
    return [_series(query.curve, query.data) for query in queries if query.data is not None]


def read_since(
    run: Run, cursor: int, keys: Sequence[str] | None = None
) -> list[ChartSeries] | None:
    """Return every point of batches after batch number `cursor`, in order of step.

    Returns None if some of these batches were folded, so that they can no longer be separated.
    """
    with snapshot():
        # A folded batch has lost its number. Another attempt of the run may be folded further, so
        # that all of its logs are asked.
        if Log.objects.filter(run=run, folded__gt=cursor).exists():
            return None
        all_series = []
        for curve in curves([run], keys, past=cursor):
            points = [
                (segment.attempt, points)
                for segment in curve.segments
                if len(points := Merger().points(segment.tail, segment.low, segment.high))
            ]
            data = singles(
                points, 0.0, "step", sum(len(attempt_points) for _, attempt_points in points)
            )
            if data is not None:
                all_series.append(_series(curve, data))
        return all_series


def json_number(value: float) -> float | str:
    """Return a number as JSON can hold it; NaN and infinities become strings."""
    # Whole numbers are written without `.0`, as far as floats hold all of them exactly.
    if abs(value) < 2**53 and value == int(value):
        return int(value)
    return json_numbers.encode(value)


def _plain_column(column: list[float]) -> list[float | str] | list[float]:
    # Nearly all columns are finite: one pass in C instead of a call for each of a thousand numbers.
    return column if all(map(math.isfinite, column)) else [json_number(value) for value in column]


def _chart_query(curve: Curve, axis: Axis, start: float, stop: float, merger: Merger) -> ChartQuery:
    x_range = XRange(start, stop, origin(curve.run, axis))
    if axis == "step":
        for segment in curve.segments:
            segment.narrow(_step_limit(math.ceil, start), _step_limit(math.floor, stop))
    return ChartQuery(
        curve, x_range, all(grows(segment, axis, merger) for segment in curve.segments)
    )


def _step_limit(rounded: Callable[[float], int], step: float) -> int:
    """Return a limit as a step that an int64 holds, also for an infinite limit."""
    # 2^62 is beyond every step; 2^63 - 1 itself is no float.
    return rounded(max(-(2.0**62), min(2.0**62, step)))


def _series(curve: Curve, data: ChartData) -> ChartSeries:
    x, mean, low, high, last = (
        column.tolist() for column in (data.x, data.mean, data.min, data.max, data.last)
    )
    thinned = [
        1 << levels(segment.series)[0]
        for segment in curve.segments
        if segment.series is not None and segment.series.thinned
    ]
    return ChartSeries(
        curve.run.public_id,
        curve.key,
        x,
        mean,
        low,
        high,
        last,
        count=data.count,
        points=len(x),
        attempts=data.attempts,
        marks=data.marks,
        thinned=max(thinned, default=0),
    )
