"""Plan which stored buckets and points the curves of a chart need, and read them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from webapp.series.curves import Curve, CurveSegment, XRange
from webapp.series.storage import bucket_levels, chunks
from webapp.series.storage.buckets import Buckets
from webapp.series.storage.packing import Floats
from webapp.series.storage.points import KeyValues

Mark = tuple[float, float]


@dataclass(eq=False)
class ChartData:
    """The chart columns of one curve; `count` is the number of values in the range."""

    x: Floats
    mean: Floats
    min: Floats
    max: Floats
    last: Floats
    count: int
    attempts: list[int]
    marks: list[Mark]


@dataclass(eq=False)
class SegmentRead:
    """The planned reads of a segment (level buckets, points of step ranges) and their results."""

    segment: CurveSegment
    level_range: bucket_levels.LevelRange | None = None
    step_ranges: list[chunks.StepRange] = field(default_factory=list)
    buckets: list[Buckets] = field(default_factory=list)
    value_parts: list[list[KeyValues]] = field(default_factory=list)

    @property
    def thinned(self) -> bool:
        return self.segment.series is not None and self.segment.series.thinned


@dataclass(eq=False)
class ChartQuery:
    """A curve to draw over a range of x.

    `ordered`: x grows with the step in all segments, and these were narrowed to the range.
    """

    curve: Curve
    x_range: XRange
    ordered: bool
    bits: int = 0
    segment_reads: list[SegmentRead] = field(default_factory=list)
    data: ChartData | None = None

    @property
    def points_only(self) -> bool:
        """Whether no stored buckets are read."""
        return all(segment_read.level_range is None for segment_read in self.segment_reads)


def plan(query: ChartQuery, width: int) -> None:
    extent = query.curve.extent()
    if extent is None:
        return
    # The least power of two of steps with which the curve has about `width` buckets or fewer.
    while extent[1] - extent[0] > width << query.bits:
        query.bits += 1
    segments = [segment for segment in query.curve.segments if segment.extent()]
    query.segment_reads = [
        _plan_segment(segment, query.bits) if query.ordered else plan_all_points(segment)
        for segment in segments
    ]


def _plan_segment(segment: CurveSegment, bits: int) -> SegmentRead:
    """Plan to read the buckets inside the limits of `segment`, and points in those cut by one."""
    # -(-a >> b) rounds up, a >> b rounds down: only buckets that are inside as a whole.
    level = None if segment.series is None else bucket_levels.level_for(segment.series, bits)
    if segment.series is None or level is None or segment.series.thinned or segment.numbers:
        return plan_all_points(segment)
    low, high = -(-segment.low >> level), (segment.high + 1 >> level) - 1
    # At the ends of the series nothing is cut: the first and last buckets are whole though the
    # series begins or ends inside of them.
    low = low if segment.low > segment.series.first_step else segment.series.first_step >> level
    high = high if segment.high < segment.series.last_step else segment.series.last_step >> level
    if low > high:
        return plan_all_points(segment)
    cuts = [(segment.low, (low << level) - 1), ((high + 1) << level, segment.high)]
    cuts = [
        (start, stop)
        for start, stop in cuts
        if start <= stop and stop >= segment.series.first_step and start <= segment.series.last_step
    ]
    step_ranges = [chunks.StepRange(segment.series.pk, start, stop) for start, stop in cuts]
    return SegmentRead(
        segment, bucket_levels.LevelRange(segment.series.pk, level, low, high), step_ranges
    )


def plan_all_points(segment: CurveSegment) -> SegmentRead:
    """Plan to read all points of a segment; if it is thinned, its finest buckets."""
    if segment.series is None:
        return SegmentRead(segment)
    if segment.series.thinned:
        return SegmentRead(
            segment,
            bucket_levels.LevelRange(segment.series.pk, bucket_levels.levels(segment.series)[0]),
        )
    return SegmentRead(
        segment, None, [chunks.StepRange(segment.series.pk, segment.low, segment.high)]
    )


def read(queries: Sequence[ChartQuery]) -> None:
    """Read everything planned with three queries: buckets, chunks, and the axes they share."""
    segment_reads = [segment_read for query in queries for segment_read in query.segment_reads]
    # One query for all curves of a page, because each query is a round trip.
    levelled = [
        segment_read for segment_read in segment_reads if segment_read.level_range is not None
    ]
    for segment_read, buckets in zip(
        levelled,
        bucket_levels.fetch(
            [segment_read.level_range for segment_read in levelled if segment_read.level_range]
        ),
        strict=True,
    ):
        segment_read.buckets = [buckets]
    value_parts = iter(
        chunks.fetch(
            [steps for segment_read in segment_reads for steps in segment_read.step_ranges]
        )
    )
    for segment_read in segment_reads:
        segment_read.value_parts = [next(value_parts) for _ in segment_read.step_ranges]
