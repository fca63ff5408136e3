"""What the store has to answer, worked out point by point in memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from webapp.runs.branches import BranchSegment
from webapp.series.storage.points import Axis


@dataclass(frozen=True)
class Point:
    attempt: int
    seq: int
    step: int
    value: float
    tokens: int
    compute: float
    wall_time: float

    def x(self, axis: Axis) -> float:
        return float(getattr(self, "wall_time" if axis == "time" else axis))


@dataclass
class Drawn:
    x: list[float] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    min: list[float] = field(default_factory=list)
    max: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    count: int = 0
    attempts: list[int] = field(default_factory=list)
    marks: list[tuple[float, float]] = field(default_factory=list)
    most_marks: int = 0


def points_of(attempt: int, key: str, rows: Iterable[dict[str, Any]]) -> list[Point]:
    """The points of a key; a row counts once by its number."""
    point_by_seq: dict[int, Point] = {}
    for row in rows:
        if key in row["values"] and row["seq"] not in point_by_seq:
            positions = (row["tokens"], row["compute"], row["wall_time"])
            point_by_seq[row["seq"]] = Point(
                attempt, row["seq"], row["step"], float(row["values"][key]), *positions
            )
    return list(point_by_seq.values())


def draw(
    points: Sequence[Point],
    branch: Sequence[BranchSegment],
    axis: Axis,
    start: float,
    stop: float,
    width: int,
    by_step: bool,
) -> Drawn | None:
    """One curve, in buckets of steps or of x."""
    limits = {
        stretch.attempt: math.inf if stretch.last is None else stretch.last for stretch in branch
    }
    in_range = [point for point in points if start <= point.x(axis) <= stop]
    live = [point for point in in_range if point.step <= limits[point.attempt]]
    if not live:
        return None
    live.sort(key=lambda point: (point.step, point.attempt, point.seq))
    if len(live) <= width:
        live.sort(key=lambda point: (point.x(axis), point.attempt, point.step, point.seq))
        buckets = [[point] for point in live]
    elif by_step:
        low, high = _extent(points, in_range, limits, axis, start, stop)
        bits = 0
        while high - low > width << bits:
            bits += 1
        buckets = _grouped(live, lambda point: point.step >> bits)
    else:
        lowest, highest = min(point.x(axis) for point in live), max(point.x(axis) for point in live)
        size = 2.0 ** math.ceil(math.log2((highest - lowest) / width)) if highest > lowest else 1.0
        buckets = _grouped(live, lambda point: math.floor(point.x(axis) / size))
    curve = Drawn(count=len(live), attempts=sorted({point.attempt for point in live}))
    for bucket in sorted(
        buckets, key=lambda bucket: sum(point.x(axis) for point in bucket) / len(bucket)
    ):
        _add(curve, bucket, axis)
    broken = sorted(
        (point.x(axis), point.value) for point in live if not math.isfinite(point.value)
    )
    curve.marks, curve.most_marks = broken, width
    return curve


def _extent(
    points: Sequence[Point],
    in_range: Sequence[Point],
    limits: dict[int, float],
    axis: Axis,
    start: float,
    stop: float,
) -> tuple[int, int]:
    """Each attempt reaches from its first to its last step, cut by the range and by its end on the
    live branch.
    """
    lows, highs = [], []
    for attempt, limit in limits.items():
        source = points if axis == "step" or (start, stop) == (-math.inf, math.inf) else in_range
        steps = [point.step for point in source if point.attempt == attempt]
        if steps:
            low, high = float(min(steps)), min(max(steps), limit)
            if axis == "step":
                low, high = max(low, start), min(high, stop)
            if low <= high:
                lows.append(math.ceil(low))
                highs.append(math.floor(high))
    return min(lows), max(highs)


def _grouped(points: Sequence[Point], index: Callable[[Point], int]) -> list[list[Point]]:
    points_by_index: dict[int, list[Point]] = {}
    for point in points:
        points_by_index.setdefault(index(point), []).append(point)
    return list(points_by_index.values())


def _add(curve: Drawn, bucket: list[Point], axis: Axis) -> None:
    finite = [point.value for point in bucket if math.isfinite(point.value)]
    last = max(bucket, key=lambda point: (point.step, point.attempt, point.seq)).value
    curve.x.append(sum(point.x(axis) for point in bucket) / len(bucket))
    curve.mean.append(math.fsum(value / len(finite) for value in finite) if finite else last)
    curve.min.append(min(finite, default=last))
    curve.max.append(max(finite, default=last))
    curve.last.append(last)
