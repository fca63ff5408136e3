"""Turn the buckets and points of many curves into chart columns.

For a curve whose x grows with the step, whole buckets come from the stored levels. Only the buckets
that are cut by the edges of a range, or of a segment of the live branch, are computed from points.
Any other curve is read point by point.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from webapp.series.chart_query import (
    ChartData,
    ChartQuery,
    Mark,
    SegmentRead,
    plan,
    plan_all_points,
    read,
)
from webapp.series.storage import chunks
from webapp.series.storage.buckets import BucketGrid, Buckets, GridCache, merge_buckets
from webapp.series.storage.packing import Ints
from webapp.series.storage.points import Axis, Merger, Points, joined


def draw(queries: Sequence[ChartQuery], axis: Axis, width: int, merger: Merger) -> None:
    """Set `data` of each query that has values in its range."""
    for query in queries:
        plan(query, width)
    read(queries)
    # How many values the buckets hold is known once they are read. Where all of them fit the chart,
    # the points are read instead: they show more than buckets of one or two values.
    sparse = [
        query
        for query in queries
        if query.ordered and not query.points_only and _fits_as_points(query, merger, width)
    ]
    for query in sparse:
        query.segment_reads = [
            plan_all_points(segment_read.segment) for segment_read in query.segment_reads
        ]
    read(sparse)
    grid_cache = GridCache()
    for query in queries:
        query.data = (
            _by_step(query, axis, width, merger, grid_cache)
            if query.ordered
            else _by_x(query, axis, width, merger)
        )
    _mark(
        [query for query in queries if query.ordered and not query.points_only], axis, width, merger
    )


def _fits_as_points(query: ChartQuery, merger: Merger, width: int) -> bool:
    """Return whether the buckets hold so few values that the points themselves can be drawn."""
    # A thinned segment has no points left.
    if any(segment_read.thinned for segment_read in query.segment_reads):
        return False
    bucketed = sum(
        int(buckets.total().sum())
        for segment_read in query.segment_reads
        for buckets in segment_read.buckets
    )
    return (
        bucketed <= width
        and bucketed
        + sum(
            len(points)
            for segment_read in query.segment_reads
            for points in _points(segment_read, merger)
        )
        <= width
    )


def _points(segment_read: SegmentRead, merger: Merger) -> list[Points]:
    """Return the points that were read for a segment, each once, as non-empty ordered groups.

    Without buckets, folded values and tail are merged into one group. With buckets, the tail is a
    group of its own, because its points are in no bucket yet.
    """
    segment = segment_read.segment
    if segment_read.level_range is None:
        folded = segment.counting(
            [key_values for value_parts in segment_read.value_parts for key_values in value_parts]
        )
        groups = [merger.points([*folded, *segment.tail], segment.low, segment.high)]
    else:
        cuts = zip(segment_read.step_ranges, segment_read.value_parts, strict=True)
        groups = [merger.points(value_parts, steps.low, steps.high) for steps, value_parts in cuts]
        groups.append(merger.points(segment.tail, segment.low, segment.high))
    return [points for points in groups if len(points)]


def _by_step(
    query: ChartQuery, axis: Axis, width: int, merger: Merger, grid_cache: GridCache
) -> ChartData | None:
    reads = [(segment_read, _points(segment_read, merger)) for segment_read in query.segment_reads]
    if query.points_only:
        by_segment = [
            (segment_read.segment.attempt, points)
            for segment_read, groups in reads
            for points in groups
        ]
        if sum(len(points) for _, points in by_segment) <= width:
            return singles(by_segment, query.x_range.origin, axis, width)
    by_attempt = [
        (
            segment_read.segment.attempt,
            merge_buckets(
                [
                    *_inside(segment_read, query, axis),
                    *(grid_cache.buckets(points, query.bits) for points in groups),
                ]
            ),
        )
        for segment_read, groups in reads
    ]
    data = _columns(by_attempt, axis, query.x_range.origin)
    if data is not None and query.points_only:
        data.marks = _marks(
            [points for _, groups in reads for points in groups], axis, query.x_range.origin, width
        )
    return data


def _inside(segment_read: SegmentRead, query: ChartQuery, axis: Axis) -> Iterator[Buckets]:
    """Yield the stored buckets of a segment at the bucket width of the chart.

    A thinned segment has no points for cut buckets: there, a bucket counts as inside if the average
    position of its points is.
    """
    for buckets in segment_read.buckets:
        inside = buckets
        if segment_read.thinned:
            inside = buckets.take(
                (buckets.step >= segment_read.segment.low)
                & (buckets.step <= segment_read.segment.high)
                & query.x_range.holds(buckets.on(axis))
            )
        if segment_read.level_range is not None:
            level = segment_read.level_range.bits
            # A thinned segment may only have buckets that are wider than those of the chart. They
            # get the index of the chart's bucket at their start.
            inside = (
                inside.coarser(query.bits - level)
                if query.bits >= level
                else replace(inside, index=inside.index << (level - query.bits))
            )
        yield inside


def _by_x(query: ChartQuery, axis: Axis, width: int, merger: Merger) -> ChartData | None:
    """Return the curve in buckets whose width is a power of two on the axis itself."""
    points_by_attempt: list[tuple[int, Points]] = []
    buckets_by_attempt: list[tuple[int, Buckets]] = []
    for segment_read in query.segment_reads:
        for points in _points(segment_read, merger):
            inside = query.x_range.holds(points.positions.on(axis))
            points_by_attempt.append((segment_read.segment.attempt, points.take(inside)))
        # Only thinned segments have buckets here; their index by steps is replaced below.
        for buckets in _inside(segment_read, query, axis):
            buckets_by_attempt.append((segment_read.segment.attempt, buckets))
    xs = [
        *(points.positions.on(axis) for _, points in points_by_attempt),
        *(buckets.on(axis) for _, buckets in buckets_by_attempt),
    ]
    count = sum(map(len, xs))
    if not count or (count <= width and not buckets_by_attempt):
        return singles(points_by_attempt, query.x_range.origin, axis, width) if count else None
    x = np.concatenate(xs).astype(np.float64) - query.x_range.origin
    low, high = float(x.min()), float(x.max())
    # Widths are powers of two, and x counts from a fixed origin, so that buckets stay where they
    # are while the run grows, until it needs wider ones.
    size = 2.0 ** math.ceil(math.log2((high - low) / width)) if high > low else 1.0
    _, index = np.unique(np.floor(x / size), return_inverse=True)
    by_attempt, start = [], 0
    for attempt, points in points_by_attempt:
        by_attempt.append((attempt, _bucketed(points, index[start : start + len(points)])))
        start += len(points)
    for attempt, buckets in buckets_by_attempt:
        by_attempt.append(
            (attempt, merge_buckets([replace(buckets, index=index[start : start + len(buckets)])]))
        )
        start += len(buckets)
    data = _columns(by_attempt, axis, query.x_range.origin)
    if data is not None:
        data.marks = _marks(
            [points for _, points in points_by_attempt], axis, query.x_range.origin, width
        )
        data.marks += _marks_of_buckets(
            [buckets for _, buckets in buckets_by_attempt],
            axis,
            query.x_range.origin,
            width - len(data.marks),
        )
    return data


def _bucketed(points: Points, index: Ints) -> Buckets:
    order = np.argsort(index, kind="stable")
    return BucketGrid(points.positions.take(order), index[order]).buckets(points.values[order])


def singles(
    by_attempt: Sequence[tuple[int, Points]], origin: float, axis: Axis, width: int
) -> ChartData | None:
    """Return every point, in order of (x, attempt, step, seq)."""
    groups = [points for _, points in by_attempt if len(points)]
    if not groups:
        return None
    positions = joined([points.positions for points in groups])
    x = positions.on(axis).astype(np.float64) - origin
    order = np.argsort(x, kind="stable")
    attempts = [attempt for attempt, points in by_attempt if len(points)]
    y = np.concatenate([points.values for points in groups])[order]
    return ChartData(
        x[order], y, y, y, y, len(y), sorted(set(attempts)), _marks(groups, axis, origin, width)
    )


def _columns(
    by_attempt: Sequence[tuple[int, Buckets]], axis: Axis, origin: float
) -> ChartData | None:
    """Merge the buckets of several attempts into one curve.

    Where attempts share a bucket, the last value is that of the later attempt.
    """
    filled = [(attempt, buckets) for attempt, buckets in by_attempt if len(buckets)]
    if not filled:
        return None
    # Attempts count their events from 1 each. The number of the attempt replaces the sequence
    # number, so that the later attempt wins where both end at the same step.
    ranked = [
        replace(buckets, last_seq=np.full(len(buckets), attempt)) for attempt, buckets in filled
    ]
    merged = merge_buckets(ranked) if len(ranked) > 1 else ranked[0]
    x = merged.on(axis) - origin
    # Of two attempts, x by time or tokens may overlap where their steps do not.
    if (np.diff(x) < 0).any():
        order = np.argsort(x, kind="stable")
        x, merged = x[order], merged.take(order)
    # Mean, min and max of a bucket without finite values say nothing; its last value says which
    # kind.
    empty = merged.count == 0
    mean, low, high = (
        np.where(empty, merged.last, column) for column in (merged.mean, merged.min, merged.max)
    )
    return ChartData(
        x,
        mean,
        low,
        high,
        merged.last,
        int(merged.total().sum()),
        sorted({attempt for attempt, _ in filled}),
        [],
    )


def _mark(queries: Sequence[ChartQuery], axis: Axis, width: int, merger: Merger) -> None:
    """Set the marks of curves that were drawn from buckets.

    Opens only chunks that have values that are not finite; their count is a column.
    """
    reads = [
        segment_read
        for query in queries
        for segment_read in query.segment_reads
        if segment_read.segment.series is not None
        and segment_read.segment.series.not_finite
        and not segment_read.thinned
    ]
    step_ranges = [
        chunks.StepRange(
            segment_read.segment.series.pk, segment_read.segment.low, segment_read.segment.high
        )
        for segment_read in reads
        if segment_read.segment.series
    ]
    value_parts = dict(zip(reads, chunks.fetch_not_finite(step_ranges, width), strict=True))
    for query in queries:
        if query.data is not None:
            groups = [
                merger.points(
                    [
                        *segment_read.segment.counting(value_parts.get(segment_read, ())),
                        *segment_read.segment.tail,
                    ],
                    segment_read.segment.low,
                    segment_read.segment.high,
                )
                for segment_read in query.segment_reads
            ]
            query.data.marks = _marks(groups, axis, query.x_range.origin, width)
            thinned = [
                buckets
                for segment_read in query.segment_reads
                if segment_read.thinned
                for buckets in _inside(segment_read, query, axis)
            ]
            query.data.marks += _marks_of_buckets(
                thinned, axis, query.x_range.origin, width - len(query.data.marks)
            )


def _marks(points: Sequence[Points], axis: Axis, origin: float, width: int) -> list[Mark]:
    marks: list[Mark] = []
    for group in points:
        index = np.flatnonzero(~np.isfinite(group.values))
        marks += zip(
            (group.positions.on(axis)[index] - origin).tolist(),
            group.values[index].tolist(),
            strict=True,
        )
    return sorted(marks, key=lambda mark: mark[0])[:width]


def _marks_of_buckets(
    buckets: Sequence[Buckets], axis: Axis, origin: float, most: int
) -> list[Mark]:
    """Return one mark per bucket and kind of value that is not finite, for thinned segments."""
    marks = [
        (float(x), value)
        for group in buckets
        for column, value in (
            (group.nan, math.nan),
            (group.plus, math.inf),
            (group.minus, -math.inf),
        )
        for x in group.on(axis)[column > 0] - origin
    ]
    return sorted(marks, key=lambda mark: mark[0])[: max(0, most)]
