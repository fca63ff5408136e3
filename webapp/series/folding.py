"""Folding: batches of an attempt become chunks and bucket levels, in one transaction.

A crash leaves nothing half done, because readers see nothing before the transaction commits. A tail
that was not folded because of it is complete, only slower to read, and is folded after the next
append or at the end of the run.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from django.db import transaction
from django.db.models import F

from webapp.runs.models import Run
from webapp.series.models import Batch, Log, Series
from webapp.series.storage import bucket_levels, chunks
from webapp.series.storage.batches import (
    Tail,
    decode_groups,
    encode_groups,
    merge_groups,
    row_count,
    value_parts,
)
from webapp.series.storage.points import Axis, KeyValues, Merger, Points

# More rows or batches than these are folded or merged: a reader has to unpack all of them for every
# chart.
MOST_ROWS, MOST_BATCHES = 1024, 48
# The newest batches stay separate, so that live pages whose cursor is a little behind get a delta.
KEPT_ROWS, KEPT_BATCHES = 128, 16
# Bits of Series.monotonic_axes.
AXIS_BITS: dict[Axis, int] = {"tokens": 1, "compute": 2, "time": 4}
LAST = ("last_step", "last_seq", "last_value", "last_tokens", "last_compute", "last_time")
SUMMARY_FIELDS = (
    "count",
    "not_finite",
    "first_step",
    "first_time",
    "least_seq",
    "greatest_seq",
    *LAST,
    "monotonic_axes",
    "levels",
)


def is_long(rows: int, batches: int) -> bool:
    """Return whether a tail of so many rows and batches should be folded or merged."""
    return rows > MOST_ROWS or batches > MOST_BATCHES


def fold_tail(run: int, attempt: int) -> None:
    """Fold a long tail in a transaction of its own. Raises Run.DoesNotExist."""
    with transaction.atomic():
        # Readers that write keep others out by this lock, and so expect no fold beside them.
        Run.objects.select_for_update(no_key=True).only("pk").get(pk=run)
        fold_long_tail(run, attempt)


def fold_long_tail(run: int, attempt: int) -> None:
    """Fold or merge the waiting batches if there are many, except the newest ones.

    The caller's transaction has locked the run's row.
    """
    log = Log.objects.get(run=run, attempt=attempt)
    if log.rows > MOST_ROWS:
        fold(run, attempt, keep=True)
    elif log.batches > MOST_BATCHES:
        merge_batches(run, attempt, keep=True)


def fold(run: int, attempt: int, keep: bool = False) -> None:
    """Turn the batches of an attempt, with `keep` all but the newest, into chunks and levels."""
    batches_to_fold = _batches_to_fold(run, attempt, keep)
    if not batches_to_fold:
        return
    content = Log.objects.filter(run=run, attempt=attempt, content=True).exists()
    tail = Tail(
        merge_groups(group for batch in batches_to_fold for group in decode_groups(batch.data)),
        content,
    )
    series_by_key = _series(run, attempt, tail.keys())
    # Small chunks are written again together with the new values, so that their number does not
    # grow with each fold.
    growing = chunks.small(series_by_key.values())
    positions_by_axis = chunks.axes({chunk.axis_id for same in growing.values() for chunk in same})
    # Keys that were logged together get the same Positions object, and so one axis and one bucket
    # grid.
    merger = Merger()
    added: list[tuple[Series, Points]] = []
    rewritten: list[tuple[Series, Points]] = []
    parts_by_key = value_parts([(tail, series, key) for key, series in series_by_key.items()])
    for series, tail_parts in zip(series_by_key.values(), parts_by_key, strict=True):
        points = merger.points(tail_parts)
        if len(points):
            before = [
                KeyValues(positions_by_axis[chunk.axis_id], chunks.values(chunk))
                for chunk in growing.get(series.pk, [])
            ]
            rewritten.append((series, merger.points([*before, *tail_parts]) if before else points))
            added.append((series, points))
            update_summary(series, points)
    chunks.drop(chunk for series, _ in added for chunk in growing.get(series.pk, []))
    chunks.write(run, attempt, rewritten)
    bucket_levels.add(added)
    # After `bucket_levels.add`, which sets the bits of new levels.
    Series.objects.bulk_create(
        [series for series, _ in added],
        update_conflicts=True,
        unique_fields=["run", "attempt", "key"],
        update_fields=SUMMARY_FIELDS,
    )
    _delete_batches(run, attempt, batches_to_fold)


def merge_batches(run: int, attempt: int, keep: bool = False) -> None:
    """Merge the batches of an attempt, with `keep` all but the newest, into one batch."""
    batches_to_fold = _batches_to_fold(run, attempt, keep)
    groups = merge_groups(group for batch in batches_to_fold for group in decode_groups(batch.data))
    _delete_batches(run, attempt, batches_to_fold)
    rows = row_count(groups)
    if groups:
        Batch.objects.create(
            run_id=run,
            attempt=attempt,
            batch_number=batches_to_fold[-1].batch_number,
            rows=rows,
            data=encode_groups(groups),
        )
        Log.objects.filter(run=run, attempt=attempt).update(
            rows=F("rows") + rows, batches=F("batches") + 1
        )


def update_summary(series: Series, points: Points) -> None:
    """Update the columns that summarise a series with `points` that were added to it."""
    positions, values = points.positions, points.values
    # First, because it compares with the last point before these.
    series.monotonic_axes = monotonic_axes(series, points)
    if not series.count or positions.step[0] < series.first_step:
        series.first_step, series.first_time = int(positions.step[0]), float(positions.wall_time[0])
    if not series.count or (positions.step[-1], positions.seq[-1]) > (
        series.last_step,
        series.last_seq,
    ):
        last = [
            positions.step,
            positions.seq,
            values,
            positions.tokens,
            positions.compute,
            positions.wall_time,
        ]
        for name, column in zip(LAST, last, strict=True):
            setattr(series, name, column[-1].item())
    least, greatest = int(positions.seq.min()), int(positions.seq.max())
    series.least_seq = min(series.least_seq, least) if series.count else least
    series.greatest_seq = max(series.greatest_seq, greatest) if series.count else greatest
    series.count += len(points)
    series.not_finite += int((~np.isfinite(values)).sum())


def monotonic_axes(series: Series | None, points: Points) -> int:
    """Return `Series.monotonic_axes` after `points` were added."""
    before = series if series is not None and series.count else None
    positions = points.positions
    if not len(points):
        return sum(AXIS_BITS.values()) if before is None else before.monotonic_axes
    # Late points, and several points of one step: buckets of steps may then be out of order on any
    # axis.
    if (np.diff(positions.step) <= 0).any() or (before and positions.step[0] <= before.last_step):
        return 0
    bits = 0
    for axis, bit in AXIS_BITS.items():
        column = positions.on(axis)
        grows = (column[1:] >= column[:-1]).all()
        if grows and (
            before is None
            or (before.monotonic_axes & bit and column[0] >= getattr(before, f"last_{axis}"))
        ):
            bits |= bit
    return bits


def _batches_to_fold(run: int, attempt: int, keep: bool) -> list[Batch]:
    """Return the batches of an attempt, oldest first; with `keep`, without the newest few."""
    waiting = list(Batch.objects.filter(run=run, attempt=attempt).order_by("batch_number", "pk"))
    rows = kept_batches = 0
    if keep:
        for batch in reversed(waiting[-KEPT_BATCHES:]):
            rows += batch.rows
            if rows > KEPT_ROWS:
                break
            kept_batches += 1
    return waiting[: len(waiting) - kept_batches]


def _delete_batches(run: int, attempt: int, batches_to_fold: Sequence[Batch]) -> None:
    if batches_to_fold:
        Batch.objects.filter(pk__in=[batch.pk for batch in batches_to_fold]).delete()
        rows = sum(batch.rows for batch in batches_to_fold)
        Log.objects.filter(run=run, attempt=attempt).update(
            rows=F("rows") - rows,
            batches=F("batches") - len(batches_to_fold),
            folded=max(batch.batch_number for batch in batches_to_fold),
        )


def _series(run: int, attempt: int, keys: Collection[str]) -> dict[str, Series]:
    """Return the series of `keys` by key, created where there are none."""
    existing = {
        series.key: series
        for series in Series.objects.filter(run=run, attempt=attempt, key__in=keys)
    }
    new = [
        Series(run_id=run, attempt=attempt, key=key) for key in sorted(keys) if key not in existing
    ]
    return existing | {series.key: series for series in Series.objects.bulk_create(new)}
