"""The live branch of each key as segments of attempts; charts are planned on it before any read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from webapp.runs import branches
from webapp.runs.models import Run
from webapp.series.folding import AXIS_BITS, monotonic_axes
from webapp.series.models import Series
from webapp.series.storage import batches, chunks
from webapp.series.storage.packing import Column, Floats
from webapp.series.storage.points import INT64_MAX, INT64_MIN, Axis, KeyValues, Mask, Merger


@dataclass(eq=False)
class CurveSegment:
    """Steps [low, high] of one key in one attempt: its folded `series`, if any, and its tail.

    `numbers` is set for an attempt that rewound in the middle of its log: only events with sequence
    numbers [first, end) count. Its buckets cannot be used then, because they hold all events.
    """

    attempt: int
    low: int
    high: int
    series: Series | None
    tail: list[KeyValues]
    numbers: tuple[int, int] | None = None

    def counting(self, value_parts: Sequence[KeyValues]) -> list[KeyValues]:
        """Return the values whose sequence numbers count."""
        if self.numbers is None:
            return list(value_parts)
        first, end = self.numbers
        masks = [
            (key_values.positions.seq >= first) & (key_values.positions.seq < end)
            for key_values in value_parts
        ]
        return [
            KeyValues(key_values.positions.take(mask), key_values.values[mask])
            for key_values, mask in zip(value_parts, masks, strict=True)
            if mask.any()
        ]

    def narrow(self, low: int = INT64_MIN, high: int = INT64_MAX) -> None:
        self.low, self.high = max(self.low, low), min(self.high, high)

    def extent(self) -> tuple[int, int] | None:
        """Return the first and last step within the limits, or None if there are none."""
        steps = [
            step
            for key_values in self.tail
            for step in (int(key_values.positions.step.min()), int(key_values.positions.step.max()))
        ]
        if self.series is not None:
            steps += [self.series.first_step, self.series.last_step]
        if not steps:
            return None
        low, high = max(self.low, min(steps)), min(self.high, max(steps))
        return (low, high) if low <= high else None


@dataclass(eq=False)
class Curve:
    """The live branch of one key of a run, oldest attempt first."""

    run: Run
    key: str
    segments: list[CurveSegment]

    def extent(self) -> tuple[int, int] | None:
        extents = [extent for segment in self.segments if (extent := segment.extent())]
        if not extents:
            return None
        return min(low for low, _ in extents), max(high for _, high in extents)


def curves(
    runs: Iterable[Run],
    keys: Sequence[str] | None,
    past: int | None = None,
    abandoned: bool = False,
) -> list[Curve]:
    """Return the curves of those `keys` (None: all) that each run has, sorted by key.

    With `past`, tails hold only batches after that batch number. With `abandoned`, every attempt is
    included up to its end.
    """
    runs = list(runs)
    ids = [run.pk for run in runs]
    branch_segments, tails = branches.segments_by_run(runs), batches.tails(ids, past, keys)
    series_by_key = {
        (series.run_id, series.attempt, series.key): series for series in _folded(ids, keys)
    }
    present: dict[int, set[str]] = defaultdict(set)
    for run_id, _, key in series_by_key:
        present[run_id].add(key)
    for (run_id, _), tail in tails.items():
        present[run_id] |= tail.keys()
    wanted: list[tuple[Curve, branches.BranchSegment, Series | None]] = []
    all_curves = []
    for run in runs:
        run_segments = branch_segments[run.pk]
        if abandoned:
            # One segment per attempt, up to its end.
            run_segments = [
                branches.BranchSegment(number, None)
                for number in dict.fromkeys(segment.attempt for segment in run_segments)
            ]
        for key in sorted(present[run.pk]):
            all_curves.append(Curve(run, key, []))
            wanted += [
                (all_curves[-1], segment, series_by_key.get((run.pk, segment.attempt, key)))
                for segment in run_segments
            ]
    # For all keys at once, because values that count by content are compared with stored ones.
    parts = batches.value_parts(
        [
            (tails.get((curve.run.pk, segment.attempt)), series, curve.key)
            for curve, segment, series in wanted
        ]
    )
    for (curve, segment, series), value_parts in zip(wanted, parts, strict=True):
        high = INT64_MAX if segment.last is None else segment.last
        curve.segments += _cut(
            CurveSegment(segment.attempt, INT64_MIN, high, series, value_parts), segment
        )
    return all_curves


def _folded(runs: Sequence[int], keys: Sequence[str] | None) -> list[Series]:
    # Raw SQL, as in `runs.lookup`, because every chart runs it.
    fields = [field.attname for field in Series._meta.concrete_fields]
    key_filter = "" if keys is None else "AND key = ANY(%(keys)s)"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {', '.join(fields)} FROM metrics_series "
            f"WHERE run_id = ANY(%(runs)s) {key_filter}",
            {"runs": list(runs), "keys": list(keys or ())},
        )
        return [Series.from_db(connection.alias, fields, row) for row in cursor.fetchall()]


def _cut(segment: CurveSegment, branch_segment: branches.BranchSegment) -> list[CurveSegment]:
    """Return the part of `segment` on the live branch: nothing, all, or some sequence numbers."""
    seqs = [
        seq
        for key_values in segment.tail
        for seq in (int(key_values.positions.seq.min()), int(key_values.positions.seq.max()))
    ]
    if segment.series is not None:
        seqs += [segment.series.least_seq, segment.series.greatest_seq]
    first, end = (
        branch_segment.first,
        INT64_MAX if branch_segment.end is None else branch_segment.end,
    )
    # Without a look at the values, where the least and greatest numbers decide. That is nearly
    # always: an attempt rewinds in the middle of its log only if its processes restart.
    if not seqs or max(seqs) < first or min(seqs) >= end:
        return []
    if min(seqs) < first or max(seqs) >= end:
        segment.numbers = (first, end)
        segment.tail = segment.counting(segment.tail)
    return [segment]


def grows(segment: CurveSegment, axis: Axis, merger: Merger) -> bool:
    """Return whether x on `axis` never falls as the step grows, over the whole attempt.

    Then buckets of steps are in order on that axis too.
    """
    return axis == "step" or bool(
        monotonic_axes(segment.series, merger.points(segment.tail)) & AXIS_BITS[axis]
    )


def origin(run: Run, axis: Axis) -> float:
    """Return what x is counted from: the run's start on the time axis, else 0."""
    # Runs that started at different times are compared by the time since their start.
    return run.started_at.timestamp() if axis == "time" and run.started_at else 0.0


@dataclass(frozen=True)
class XRange:
    """x in [start, stop], both included, counted from `origin`."""

    start: float
    stop: float
    origin: float

    def holds(self, x: Column | Floats) -> Mask:
        relative = x - self.origin
        return (relative >= self.start) & (relative <= self.stop)


# For a series that grows along an axis, each limit cuts at most one chunk. The extents of all other
# chunks are columns, so that they need not be unpacked.
LIMITS = """
SELECT index, min(first_step) FILTER (WHERE low BETWEEN start AND stop),
    max(last_step) FILTER (WHERE high BETWEEN start AND stop),
    array_agg(axis_id) FILTER (
        WHERE (low < start AND high >= start) OR (low <= stop AND high > stop)
    )
FROM (
    SELECT index, start, stop, first_step, last_step, axis_id,
        low_{axis} - origin AS low, high_{axis} - origin AS high
    FROM unnest(%s::int8[], %s::float8[], %s::float8[], %s::float8[])
        WITH ORDINALITY AS query(series, start, stop, origin, index)
    JOIN metrics_chunk AS chunk ON chunk.series_id = query.series
    JOIN metrics_axis AS axis ON axis.id = chunk.axis_id
) AS extents GROUP BY index
"""


def limit(segments: Sequence[tuple[CurveSegment, XRange]], axis: Axis) -> None:
    """Narrow each segment, which grows along `axis`, to the steps whose x is in its range.

    Thinned segments stay as they are, because their points are gone.
    """
    segments = [
        (segment, x_range)
        for segment, x_range in segments
        if segment.series is None or not segment.series.thinned
    ]
    folded = [(segment, x_range) for segment, x_range in segments if segment.series is not None]
    rows_by_segment: dict[int, list[Any]] = {}
    if folded:
        rows = [
            (segment.series.pk, x_range.start, x_range.stop, x_range.origin)
            for segment, x_range in folded
            if segment.series is not None
        ]
        with connection.cursor() as cursor:
            cursor.execute(LIMITS.format(axis=axis), [*map(list, zip(*rows, strict=True))])
            rows_by_segment = {
                id(folded[index - 1][0]): columns for index, *columns in cursor.fetchall()
            }
    cut_axes = chunks.axes(
        {axis_id for _, _, ids in rows_by_segment.values() for axis_id in ids or ()}
    )
    # The tail is in memory, so that its positions are compared one by one.
    for segment, x_range in segments:
        first, last, ids = rows_by_segment.get(id(segment), (None, None, None))
        steps = [step for step in (first, last) if step is not None]
        for positions in [
            *(cut_axes[axis_id] for axis_id in ids or ()),
            *(key_values.positions for key_values in segment.tail),
        ]:
            steps_inside = positions.step[x_range.holds(positions.on(axis))]
            steps += [int(steps_inside.min()), int(steps_inside.max())] if len(steps_inside) else []
        segment.narrow(min(steps), max(steps)) if steps else segment.narrow(INT64_MAX, INT64_MIN)
