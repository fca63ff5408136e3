"""Compaction after the end of a run: large chunks, no tail, and after some days no single points.

Each attempt is one transaction that locks the run's row, so that a crash half way changes nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from webapp.runs import branches
from webapp.runs.models import FINISHED, Run
from webapp.series.folding import MOST_ROWS, fold, merge_batches, update_summary
from webapp.series.models import Axis, Chunk, Log, Series
from webapp.series.storage import chunks
from webapp.series.storage.points import KeyValues, Merger

# Smallest number of values in a chunk of a finished run's series that has that many. A row of
# Postgres costs some 30 bytes and 40 for each index entry (docs/scale.md), which is little beside
# 8,192 values.
LARGE = 8192


def compact(run: Run) -> None:
    """Fold what waits, and merge the chunks of each series into large ones.

    A run too short for chunks becomes one batch instead: one row for all of its keys.
    """
    for attempt in (
        Log.objects.filter(run=run, compacted=False)
        .order_by("attempt")
        .values_list("attempt", flat=True)
    ):
        with transaction.atomic():
            # A finished run may still be appended to, by a client or a late machine.
            Run.objects.select_for_update().get(pk=run.pk)
            log = Log.objects.get(run=run, attempt=attempt)
            if log.rows > MOST_ROWS or Series.objects.filter(run=run, attempt=attempt).exists():
                fold(run.pk, attempt)
                _merge(run.pk, attempt)
            elif log.batches > 1:
                merge_batches(run.pk, attempt)
            Log.objects.filter(pk=log.pk).update(compacted=True)


def thin(run: Run) -> None:
    """Drop the single points of series that have bucket levels; charts and `latest` use the levels.

    An attempt that rewound in the middle of its log keeps its points, because its buckets also hold
    the abandoned ones.
    """
    segments_by_attempt = Counter(
        branch_segment.attempt for branch_segment in branches.segments(run)
    )
    for attempt in [attempt for attempt, count in segments_by_attempt.items() if count == 1]:
        with transaction.atomic():
            # Locks the row, and changes the tag by which browsers keep charts.
            Run.objects.filter(pk=run.pk).update(batch_count=F("batch_count") + 1)
            thinnable = Series.objects.filter(run=run, attempt=attempt, thinned=False).exclude(
                levels=0
            )
            Chunk.objects.filter(series__in=thinnable).delete()
            thinnable.update(thinned=True)
            Axis.objects.filter(run=run, attempt=attempt, chunk=None).delete()


def compact_finished() -> int:
    """Compact finished runs, and thin those that finished STILLROOM_RAW_DAYS ago.

    Returns the number of runs that were changed.
    """
    finished = Run.objects.filter(state__in=FINISHED)
    uncompacted = list(finished.filter(pk__in=Log.objects.filter(compacted=False).values("run")))
    for run in uncompacted:
        compact(run)
    old: list[Run] = []
    if settings.RAW_DAYS:
        thinnable = Series.objects.filter(thinned=False).exclude(levels=0)
        before = Now() - timedelta(days=settings.RAW_DAYS)
        old = list(finished.filter(finished_at__lt=before, pk__in=thinnable.values("run")))
    for run in old:
        thin(run)
    return len(uncompacted) + len(old)


@dataclass(frozen=True)
class _ChunkInfo:
    pk: int
    series: int
    axis: int
    count: int
    first_step: int
    last_step: int


def _merge(run: int, attempt: int) -> None:
    series = Series.objects.filter(run=run, attempt=attempt, thinned=False).in_bulk()
    groups: dict[tuple[int, ...], list[list[_ChunkInfo]]] = defaultdict(list)
    for series_id in series:
        for group in _groups(_chunks(series_id)):
            if len(group) > 1:
                groups[tuple(chunk.axis for chunk in group)].append(group)
    # Groups with the same axes are keys that were logged together: their new chunks share an axis
    # too.
    for axes, groups_of_axes in groups.items():
        _replace(run, attempt, axes, groups_of_axes, series)
    for row in series.values():
        # 7 is all bits of AXIS_BITS: nothing is left to gain.
        if row.monotonic_axes != 7:
            _recompute_monotonic_axes(row)


def _chunks(series: int) -> list[_ChunkInfo]:
    # Without `data`: which chunks are merged is decided before any is read.
    return [
        _ChunkInfo(*row)
        for row in Chunk.objects.filter(series=series)
        .order_by("first_step", "pk")
        .values_list("pk", "series_id", "axis_id", "count", "first_step", "last_step")
    ]


def _groups(chunks_by_step: Iterable[_ChunkInfo]) -> list[list[_ChunkInfo]]:
    """Return neighbours that make a large chunk together.

    Chunks whose steps overlap are in one group, so that groups do not overlap.
    """
    groups: list[list[_ChunkInfo]] = []
    size, reached = 0, 0
    for chunk in chunks_by_step:
        if not groups or (size >= LARGE and chunk.first_step > reached):
            groups.append([])
            size, reached = 0, chunk.last_step
        groups[-1].append(chunk)
        size, reached = size + chunk.count, max(reached, chunk.last_step)
    # The last group may be small; then the one before it takes it.
    if size < LARGE and len(groups) > 1:
        groups[-2:] = [groups[-2] + groups[-1]]
    return groups


def _replace(
    run: int,
    attempt: int,
    axes: tuple[int, ...],
    groups: list[list[_ChunkInfo]],
    series: dict[int, Series],
) -> None:
    """Replace each group by one chunk; all groups have the same `axes`."""
    merger, positions_by_axis = Merger(), chunks.axes(axes)
    chunk_by_pk = Chunk.objects.in_bulk([chunk.pk for group in groups for chunk in group])
    value_parts = [
        [
            KeyValues(positions_by_axis[chunk.axis], chunks.values(chunk_by_pk[chunk.pk]))
            for chunk in group
        ]
        for group in groups
    ]
    merged_points = [
        (series[group[0].series], merger.points(group_values))
        for group, group_values in zip(groups, value_parts, strict=True)
    ]
    # A smaller limit would cut some groups into chunks below LARGE, which the next compaction would
    # merge again.
    chunks.write(run, attempt, merged_points, largest=2 * LARGE - 1)
    chunks.drop(chunk_by_pk.values())


def _recompute_monotonic_axes(series: Series) -> None:
    """Set `monotonic_axes` from all chunks in order of step.

    While the run was logged, a batch that arrived late could only clear the bits.
    """
    recomputed = Series()
    # One chunk after the other, so that a series of any length needs no more memory.
    for chunk in _chunks(series.pk):
        positions = chunks.axes([chunk.axis])[chunk.axis]
        values = chunks.values(Chunk.objects.get(pk=chunk.pk))
        update_summary(recomputed, Merger().points([KeyValues(positions, values)]))
    Series.objects.filter(pk=series.pk).update(monotonic_axes=recomputed.monotonic_axes)
