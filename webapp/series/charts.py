"""ChartSeries as charts draw them: the live branch of each run, whole where it is short, in buckets
where it is long.

Buckets hold a power of two of steps, anchored at step 0, so that they stay where they are while a
run grows; each keeps mean, minimum and maximum, so that a spike of one step is seen at any width.
On the axes of tokens, time and compute the same buckets are drawn where their points lie on
average; a series that does not grow along an axis, because its clock went back or its steps stand
still, is put into buckets of powers of two on that axis instead.

NaN and infinities, once and for all: the store holds them. A bucket's mean, min and max are over
its finite values; one that has none carries its last value instead. JSON has no such numbers, so
`ChartSeries.json` writes them as the strings "NaN", "Infinity" and "-Infinity", as the event log does.
`marks` lists every non-finite point as (x, value), at most `width` of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from webapp.base.snapshot import snapshot
from webapp.runs.models import Run
from webapp.series.bucket_levels import levels
from webapp.series.chart_data import Drawing, Drawn, draw, singles
from webapp.series.curves import Curve, Range, curves, grows, limit, origin
from webapp.series.models import Log
from webapp.series.points import Axis, Loom


@dataclass(frozen=True)
class ChartSeries:
    """One key of one run. `count` values lie in the range asked for, `points` of them are returned;
    `attempts` contributed.

    `thinned`: single points are not kept any more; no bucket is finer than that many steps (0: all
    are kept).
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
        """The same as plain JSON."""
        columns = {
            name: _plain_column(getattr(self, name)) for name in ("x", "mean", "min", "max", "last")
        }
        marks = [[json_number(x), json_number(value)] for x, value in self.marks]
        facts = {
            "count": self.count,
            "points": self.points,
            "attempts": self.attempts,
            "thinned": self.thinned,
        }
        return {"run": self.run, "key": self.key, **columns, **facts, "marks": marks}


def read(
    runs: Iterable[Run],
    keys: Sequence[str] | None,
    axis: Axis = "step",
    start: float | None = None,
    stop: float | None = None,
    width: int = 1000,
) -> list[ChartSeries]:
    """The series `keys` (None: all) of `runs` for x in [start, stop], each in about `width`
    buckets.
    """
    low, high = -math.inf if start is None else start, math.inf if stop is None else stop
    with snapshot():
        loom = Loom()
        drawings = [_drawing(curve, axis, low, high, loom) for curve in curves(runs, keys)]
        if axis != "step" and (start, stop) != (None, None):
            limit(
                [(part, one.wanted) for one in drawings if one.ordered for part in one.curve.parts],
                axis,
            )
        draw(drawings, axis, width, loom)
    return [_series(one.curve, one.drawn) for one in drawings if one.drawn is not None]


def read_since(
    run: Run, cursor: int, keys: Sequence[str] | None = None
) -> list[ChartSeries] | None:
    """Every point of batches past `cursor`, in order of step; None if batches are not kept apart
    any more from there on.
    """
    with snapshot():
        if Log.objects.filter(run=run, folded__gt=cursor).exists():
            return None
        found = []
        for curve in curves([run], keys, past=cursor):
            points = [
                (part.attempt, points)
                for part in curve.parts
                if len(points := Loom().points(part.strands, part.low, part.high))
            ]
            drawn = singles(points, 0.0, "step", sum(len(one) for _, one in points))
            if drawn is not None:
                found.append(_series(curve, drawn))
        return found


def json_number(value: float) -> float | str:
    """A number as JSON can hold it."""
    if math.isfinite(value):
        return int(value) if value == int(value) and abs(value) < 2**53 else value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _plain_column(column: list[float]) -> list[float | str] | list[float]:
    return column if all(map(math.isfinite, column)) else [json_number(value) for value in column]


def _drawing(curve: Curve, axis: Axis, start: float, stop: float, loom: Loom) -> Drawing:
    wanted = Range(start, stop, origin(curve.run, axis))
    if axis == "step":
        for part in curve.parts:
            part.narrow(_whole(math.ceil, start), _whole(math.floor, stop))
    return Drawing(curve, wanted, all(grows(part, axis, loom) for part in curve.parts))


def _whole(rounded: Callable[[float], int], step: float) -> int:
    """A limit as a step that the store can hold."""
    return rounded(max(-(2.0**62), min(2.0**62, step)))


def _series(curve: Curve, drawn: Drawn) -> ChartSeries:
    x, mean, low, high, last = (
        column.tolist() for column in (drawn.x, drawn.mean, drawn.min, drawn.max, drawn.last)
    )
    thinned = [
        1 << levels(part.known)[0]
        for part in curve.parts
        if part.known is not None and part.known.thinned
    ]
    facts = (drawn.count, len(x), drawn.attempts, drawn.marks, max(thinned, default=0))
    return ChartSeries(curve.run.public_id, curve.key, x, mean, low, high, last, *facts)
