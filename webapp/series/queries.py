"""Queries other than charts: keys, latest values, sparklines, seconds per step, and cache tags."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from webapp.base.read_snapshot import snapshot
from webapp.runs.models import Run
from webapp.series.charts import read
from webapp.series.curves import Curve, CurveSegment, curves, origin
from webapp.series.models import Series
from webapp.series.storage import chunks
from webapp.series.storage.batches import tail_keys, tails
from webapp.series.storage.bucket_levels import LevelRange, fetch, levels
from webapp.series.storage.packing import Floats, Ints
from webapp.series.storage.points import Axis, Merger


@dataclass(frozen=True)
class LastPoint:
    """The last point of a series: that of the greatest step, and there the one logged last.

    `wall_time` is in Unix seconds. Where the last steps of a thinned series were abandoned, it is
    the average time of the last bucket that remains.
    """

    step: int
    wall_time: float
    value: float


def keys(run: Run) -> list[str]:
    """Return the keys of all series of `run`, sorted."""
    with snapshot():
        folded = Series.objects.filter(run=run).values_list("key", flat=True)
        return sorted(tail_keys(run.pk).union(folded))


def latest(run: Run, keys: Sequence[str]) -> dict[str, float]:
    """Return the last value on the live branch of each key that has one."""
    return {key: point.value for key, point in last_points([run], keys)[run.pk].items()}


def last_points(
    runs: Iterable[Run], keys: Sequence[str] | None = None
) -> dict[int, dict[str, LastPoint]]:
    """Return the last point on the live branch of each key (None: of all), by primary key of run.

    Keys without points are left out.
    """
    runs = list(runs)
    points_by_run: dict[int, dict[str, LastPoint]] = defaultdict(dict)
    with snapshot():
        for curve in curves(runs, keys):
            point = _last(curve)
            if point is not None:
                points_by_run[curve.run.pk][curve.key] = point
    return {run.pk: points_by_run[run.pk] for run in runs}


def point_counts(run: Run, keys: Sequence[str]) -> dict[str, int]:
    """Return the number of points of each key that has some, those of abandoned tails included."""
    counts: dict[str, int] = defaultdict(int)
    with snapshot():
        for curve in curves([run], keys, abandoned=True):
            for segment in curve.segments:
                counts[curve.key] += sum(len(group.values) for group in segment.tail)
                counts[curve.key] += segment.series.count if segment.series is not None else 0
    return dict(counts)


def sparkline(run: Run, key: str, count: int) -> list[float]:
    """Return at most `count` values of the live branch, spread evenly over its steps.

    The cost does not grow with the run.
    """
    # Twice as many buckets as values: a chart has at least half as many buckets as its width.
    series = read([run], [key], width=2 * count)
    values = series[0].last if series else []
    if not values:
        return []
    index = np.linspace(0, len(values) - 1, min(count, len(values))).astype(int)
    return [values[i] for i in np.unique(index)]


def etag(runs: Iterable[Run], *question: object) -> str:
    """Return a tag that changes with any batch of the runs and with the `question`."""
    state = "|".join([*(f"{run.public_id}:{run.batch_count}" for run in runs), *map(str, question)])
    return f'"{hashlib.sha256(state.encode()).hexdigest()[:32]}"'


def seconds_per_step(run: Run, attempt: int) -> float | None:
    """Return the average seconds per step of the attempt, evaluations and checkpoints included.

    None before two steps were logged.
    """
    with snapshot():
        segments = [
            segment
            for curve in curves([run], ["loss"])
            for segment in curve.segments
            if segment.attempt == attempt
        ]
    ends = [end for segment in segments for end in _ends(segment)]
    if not ends or min(ends)[0] == max(ends)[0]:
        return None
    # A clock that went back must not give a negative speed.
    (first, began), (last, ended) = min(ends), max(ends)
    return max(0.0, (ended - began) / (last - first))


def axis_positions(run: Run, key: str, axis: Axis, steps: Iterable[int]) -> dict[int, float]:
    """Return x on `axis` of those `steps` at which `key` was logged."""
    sorted_steps, x_by_step = sorted(set(steps)), dict[int, float]()
    with snapshot():
        for curve in curves([run], [key]):
            for segment in curve.segments:
                inside = [step for step in sorted_steps if segment.low <= step <= segment.high]
                step_ranges = (
                    []
                    if segment.series is None
                    else [chunks.StepRange(segment.series.pk, step, step) for step in inside]
                )
                value_parts = [
                    key_values
                    for step_values in chunks.fetch(step_ranges)
                    for key_values in step_values
                ]
                for key_values in [*segment.counting(value_parts), *segment.tail]:
                    index = np.flatnonzero(np.isin(key_values.positions.step, inside))
                    for step, x in zip(
                        key_values.positions.step[index].tolist(),
                        key_values.positions.on(axis)[index].tolist(),
                        strict=True,
                    ):
                        # Of a step that was logged several times, the first.
                        x_by_step[step] = min(x_by_step.get(step, x), x)
    return {step: x - origin(run, axis) for step, x in x_by_step.items()}


def sequence_numbers(run: Run, attempt: int) -> set[int]:
    """Return the sequence numbers of an attempt's rows, read from the stored rows themselves."""
    with snapshot():
        waiting = [
            group.positions
            for (_, number), tail in tails([run.pk]).items()
            if number == attempt
            for group in tail.groups
        ]
        folded = chunks.axes_of(run.pk, attempt)
    return {number for positions in [*waiting, *folded] for number in positions.seq.tolist()}


# Step, attempt, sequence number, wall time, value.
Last = tuple[int, int, int, float, float]


def _last(curve: Curve) -> LastPoint | None:
    """Return the point of the greatest (step, attempt, seq), or None if there are no points."""
    merger = Merger()
    candidates: list[Last] = []
    for segment in curve.segments:
        points = merger.points(segment.tail, segment.low, segment.high)
        candidates += _last_row(
            segment.attempt,
            points.positions.step,
            points.positions.seq,
            points.positions.wall_time,
            points.values,
        )
        if segment.series is not None and segment.series.first_step <= segment.high:
            candidates += _last_folded(segment, segment.series, merger)
    if not candidates:
        return None
    step, _, _, wall_time, value = max(candidates, key=lambda last: last[:3])
    return LastPoint(step, wall_time, value)


def _last_folded(segment: CurveSegment, series: Series, merger: Merger) -> list[Last]:
    # The usual case needs no read: the summary of the series has its last point.
    if series.last_step <= segment.high and segment.numbers is None:
        return [
            (
                series.last_step,
                segment.attempt,
                series.last_seq,
                series.last_time,
                series.last_value,
            )
        ]
    if series.thinned:
        level = levels(series)[0]
        (buckets,) = fetch([LevelRange(series.pk, level, high=segment.high >> level)])
        return _last_row(
            segment.attempt, buckets.last_step, buckets.last_seq, buckets.wall_time, buckets.last
        )
    if segment.numbers is None:
        value_parts = chunks.last_before(series, segment.high)
    else:
        (value_parts,) = chunks.fetch([chunks.StepRange(series.pk, segment.low, segment.high)])
    points = merger.points(segment.counting(value_parts), high=segment.high)
    return _last_row(
        segment.attempt,
        points.positions.step,
        points.positions.seq,
        points.positions.wall_time,
        points.values,
    )


def _last_row(
    attempt: int, steps: Ints, seqs: Ints, wall_times: Floats, values: Floats
) -> list[Last]:
    """Return the last row of the columns as a candidate; nothing if they are empty."""
    columns = (column[-1:].tolist() for column in (steps, seqs, wall_times, values))
    return [
        (step, attempt, seq, wall_time, value)
        for step, seq, wall_time, value in zip(*columns, strict=True)
    ]


def _ends(segment: CurveSegment) -> list[tuple[int, float]]:
    """Return (step, wall time) of the first and last points of tail and folded series."""
    points = Merger().points(segment.tail)
    ends = [
        (int(points.positions.step[index]), float(points.positions.wall_time[index]))
        for index in ((0, -1) if len(points) else ())
    ]
    if segment.series is not None:
        ends += [
            (segment.series.first_step, segment.series.first_time),
            (segment.series.last_step, segment.series.last_time),
        ]
    return ends
