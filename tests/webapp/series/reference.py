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
    found: dict[int, Point] = {}
    for row in rows:
        if key in row["values"] and row["seq"] not in found:
            place = (row["tokens"], row["compute"], row["wall_time"])
            found[row["seq"]] = Point(
                attempt, row["seq"], row["step"], float(row["values"][key]), *place
            )
    return list(found.values())


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
    chosen = [point for point in points if start <= point.x(axis) <= stop]
    live = [point for point in chosen if point.step <= limits[point.attempt]]
    if not live:
        return None
    live.sort(key=lambda point: (point.step, point.attempt, point.seq))
    if len(live) <= width:
        live.sort(key=lambda point: (point.x(axis), point.attempt, point.step, point.seq))
        buckets = [[point] for point in live]
    elif by_step:
        low, high = _extent(points, chosen, limits, axis, start, stop)
        bits = 0
        while high - low > width << bits:
            bits += 1
        buckets = _grouped(live, lambda point: point.step >> bits)
    else:
        left, right = min(point.x(axis) for point in live), max(point.x(axis) for point in live)
        size = 2.0 ** math.ceil(math.log2((right - left) / width)) if right > left else 1.0
        buckets = _grouped(live, lambda point: math.floor(point.x(axis) / size))
    found = Drawn(count=len(live), attempts=sorted({point.attempt for point in live}))
    for bucket in sorted(
        buckets, key=lambda bucket: sum(point.x(axis) for point in bucket) / len(bucket)
    ):
        _add(found, bucket, axis)
    broken = sorted(
        (point.x(axis), point.value) for point in live if not math.isfinite(point.value)
    )
    found.marks, found.most_marks = broken, width
    return found


def _extent(
    points: Sequence[Point],
    chosen: Sequence[Point],
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
        source = points if axis == "step" or (start, stop) == (-math.inf, math.inf) else chosen
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
    found: dict[int, list[Point]] = {}
    for point in points:
        found.setdefault(index(point), []).append(point)
    return list(found.values())


def _add(found: Drawn, bucket: list[Point], axis: Axis) -> None:
    finite = [point.value for point in bucket if math.isfinite(point.value)]
    last = max(bucket, key=lambda point: (point.step, point.attempt, point.seq)).value
    found.x.append(sum(point.x(axis) for point in bucket) / len(bucket))
    found.mean.append(math.fsum(value / len(finite) for value in finite) if finite else last)
    found.min.append(min(finite, default=last))
    found.max.append(max(finite, default=last))
    found.last.append(last)
