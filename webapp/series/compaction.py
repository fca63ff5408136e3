"""What becomes of the series of a run that has ended: large chunks, no tail, and after some days no
single points.

One attempt is one transaction that holds the run's row, so that whoever dies half way has changed
nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from webapp.runs import branches
from webapp.runs.models import FINISHED, Run
from webapp.series import chunks
from webapp.series.folding import MOST_ROWS, fold, gather, learn
from webapp.series.models import Axis, Chunk, Log, Series
from webapp.series.points import Loom, Strand

LARGE = 8192  # values that a chunk has at least, where the series has that many


def compact(run: Run) -> None:
    """Fold what waits, and merge the chunks of each series into large ones. A run too short for
    chunks becomes one batch.
    """
    for attempt in (
        Log.objects.filter(run=run, compacted=False)
        .order_by("attempt")
        .values_list("attempt", flat=True)
    ):
        with transaction.atomic():
            Run.objects.select_for_update().get(pk=run.pk)
            log = Log.objects.get(run=run, attempt=attempt)
            if log.rows > MOST_ROWS or Series.objects.filter(run=run, attempt=attempt).exists():
                fold(run.pk, attempt)
                _merge(run.pk, attempt)
            elif log.batches > 1:
                gather(run.pk, attempt)
            Log.objects.filter(pk=log.pk).update(compacted=True)


def thin(run: Run) -> None:
    """Drop the single points of the series that have a pyramid; charts and `latest` go on with
    that.

    Where an attempt went back in the middle of its log its points stay, as its buckets hold what
    was abandoned too.
    """
    parts = Counter(stretch.attempt for stretch in branches.segments(run))
    for attempt in [attempt for attempt, count in parts.items() if count == 1]:
        with transaction.atomic():
            Run.objects.filter(pk=run.pk).update(batch_count=F("batch_count") + 1)
            long = Series.objects.filter(run=run, attempt=attempt, thinned=False).exclude(levels=0)
            Chunk.objects.filter(series__in=long).delete()
            long.update(thinned=True)
            Axis.objects.filter(run=run, attempt=attempt, chunk=None).delete()


def compact_finished() -> int:
    """Compact the runs that have ended since, and thin those that ended STILLROOM_RAW_DAYS ago; how
    many runs that were.
    """
    ended = Run.objects.filter(state__in=FINISHED)
    fresh = list(ended.filter(pk__in=Log.objects.filter(compacted=False).values("run")))
    for run in fresh:
        compact(run)
    old: list[Run] = []
    if settings.RAW_DAYS:
        long = Series.objects.filter(thinned=False).exclude(levels=0)
        before = timezone.now() - timedelta(days=settings.RAW_DAYS)
        old = list(ended.filter(finished_at__lt=before, pk__in=long.values("run")))
    for run in old:
        thin(run)
    return len(fresh) + len(old)


@dataclass(frozen=True)
class _Chunk:
    pk: int
    series: int
    axis: int
    count: int
    first_step: int
    last_step: int


def _merge(run: int, attempt: int) -> None:
    series = Series.objects.filter(run=run, attempt=attempt, thinned=False).in_bulk()
    groups: dict[tuple[int, ...], list[list[_Chunk]]] = defaultdict(list)
    for one in series:
        for group in _groups(_chunks(one)):
            if len(group) > 1:
                groups[tuple(chunk.axis for chunk in group)].append(group)
    for axes, same in groups.items():
        _replace(run, attempt, axes, same, series)
    for known in series.values():
        if known.monotonic_axes != 7:
            _straighten(known)


def _chunks(series: int) -> list[_Chunk]:
    found = Chunk.objects.filter(series=series).order_by("first_step", "pk")
    return [
        _Chunk(*row)
        for row in found.values_list(
            "pk", "series_id", "axis_id", "count", "first_step", "last_step"
        )
    ]


def _groups(found: Iterable[_Chunk]) -> list[list[_Chunk]]:
    """Neighbours that make a large chunk together. Chunks whose steps overlap stay together, so
    that groups follow each other.
    """
    groups: list[list[_Chunk]] = []
    size, reached = 0, 0
    for chunk in found:
        if not groups or (size >= LARGE and chunk.first_step > reached):
            groups.append([])
            size, reached = 0, chunk.last_step
        groups[-1].append(chunk)
        size, reached = size + chunk.count, max(reached, chunk.last_step)
    if size < LARGE and len(groups) > 1:
        groups[-2:] = [groups[-2] + groups[-1]]
    return groups


def _replace(
    run: int,
    attempt: int,
    axes: tuple[int, ...],
    same: list[list[_Chunk]],
    series: dict[int, Series],
) -> None:
    """Write each group, all of the same places, as one chunk."""
    loom, places = Loom(), chunks.axes(axes)
    stored = Chunk.objects.in_bulk([chunk.pk for group in same for chunk in group])
    strands = [
        [Strand(places[chunk.axis], chunks.values(stored[chunk.pk])) for chunk in group]
        for group in same
    ]
    merged = [
        (series[group[0].series], loom.points(found))
        for group, found in zip(same, strands, strict=True)
    ]
    chunks.write(run, attempt, merged, largest=2 * LARGE - 1)
    chunks.drop(stored.values())


def _straighten(known: Series) -> None:
    """Late batches left it open whether the series grows along its axes; in order, it shows."""
    seen = Series()
    for strand in _in_order(known):
        learn(seen, Loom().points([strand]))
    Series.objects.filter(pk=known.pk).update(monotonic_axes=seen.monotonic_axes)


def _in_order(known: Series) -> Iterator[Strand]:
    for chunk in _chunks(known.pk):
        stored = Chunk.objects.get(pk=chunk.pk)
        yield Strand(chunks.axes([chunk.axis])[chunk.axis], chunks.values(stored))
