"""Folding the tail of an attempt into chunks and levels, inside the transaction of an append.

Everything here may be done again from the beginning after a crash, because nothing is seen before
the transaction ends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
from django.db.models import F

from webapp.series import bucket_levels, chunks
from webapp.series.batches import decoded, encoded, together
from webapp.series.models import Batch, Log, Series
from webapp.series.points import Axis, Loom, Points, Strand
from webapp.series.tail import Tail, strands

MOST_ROWS, MOST_BATCHES = 1024, 48
KEPT_ROWS, KEPT_BATCHES = 128, 16
STRAIGHT: dict[Axis, int] = {"tokens": 1, "compute": 2, "time": 4}
LAST = ("last_step", "last_seq", "last_value", "last_tokens", "last_compute", "last_time")
KNOWN = (
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


def tidy(run: int, attempt: int, rows: int, batches: int) -> None:
    """Fold or gather what waits, if it is much; the newest batches stay as they are, for live
    readers.
    """
    if rows > MOST_ROWS:
        fold(run, attempt, keep=True)
    elif batches > MOST_BATCHES:
        gather(run, attempt, keep=True)


def fold(run: int, attempt: int, keep: bool = False) -> None:
    """Turn the batches of an attempt into chunks and levels: all of them, or all but the newest
    few.
    """
    taken = _taken(run, attempt, keep)
    if not taken:
        return
    content = Log.objects.filter(run=run, attempt=attempt, content=True).exists()
    tail = Tail(together(group for batch in taken for group in decoded(batch.data)), content)
    known = _series(run, attempt, tail.keys())
    growing = chunks.small(known.values())
    old = chunks.axes({chunk.axis_id for same in growing.values() for chunk in same})
    loom = Loom()
    fresh: list[tuple[Series, Points]] = []
    written: list[tuple[Series, Points]] = []
    for key, series in known.items():
        new = strands(tail, series, key)
        points = loom.points(new)
        if len(points):
            before = [
                Strand(old[chunk.axis_id], chunks.values(chunk))
                for chunk in growing.get(series.pk, [])
            ]
            written.append((series, loom.points([*before, *new]) if before else points))
            fresh.append((series, points))
            learn(series, points)
    chunks.drop(chunk for series, _ in fresh for chunk in growing.get(series.pk, []))
    chunks.write(run, attempt, written)
    bucket_levels.add(fresh)
    _save(series for series, _ in fresh)
    _forget(run, attempt, taken)


def gather(run: int, attempt: int, keep: bool = False) -> None:
    """Turn the batches of an attempt into one: all of them, or all but the newest few."""
    taken = _taken(run, attempt, keep)
    groups = together(group for batch in taken for group in decoded(batch.data))
    _forget(run, attempt, taken)
    rows = sum(len(group.places) for group in groups)
    if groups:
        Batch.objects.create(
            run_id=run,
            attempt=attempt,
            batch_number=taken[-1].batch_number,
            rows=rows,
            data=encoded(groups),
        )
        Log.objects.filter(run=run, attempt=attempt).update(
            rows=F("rows") + rows, batches=F("batches") + 1
        )


def learn(series: Series, points: Points) -> None:
    """Bring what is known of a series without looking up to `points`, which are new to it."""
    places, values = points.places, points.values
    series.monotonic_axes = straight(series, points)
    if not series.count or places.step[0] < series.first_step:
        series.first_step, series.first_time = int(places.step[0]), float(places.wall_time[0])
    if not series.count or (places.step[-1], places.seq[-1]) > (series.last_step, series.last_seq):
        last = [places.step, places.seq, values, places.tokens, places.compute, places.wall_time]
        for name, column in zip(LAST, last, strict=True):
            setattr(series, name, column[-1].item())
    least, greatest = int(places.seq.min()), int(places.seq.max())
    series.least_seq = min(series.least_seq, least) if series.count else least
    series.greatest_seq = max(series.greatest_seq, greatest) if series.count else greatest
    series.count += len(points)
    series.not_finite += int((~np.isfinite(values)).sum())


def straight(series: Series | None, points: Points) -> int:
    """`Series.monotonic_axes` as it is when `points` have come."""
    known = series if series is not None and series.count else None
    places = points.places
    if not len(points):
        return sum(STRAIGHT.values()) if known is None else known.monotonic_axes
    if (np.diff(places.step) <= 0).any() or (known and places.step[0] <= known.last_step):
        return 0
    found = 0
    for axis, bit in STRAIGHT.items():
        column = places.on(axis)
        grows = (column[1:] >= column[:-1]).all()
        if grows and (
            known is None
            or (known.monotonic_axes & bit and column[0] >= getattr(known, f"last_{axis}"))
        ):
            found |= bit
    return found


def _taken(run: int, attempt: int, keep: bool) -> list[Batch]:
    """The batches of an attempt, oldest first, but for those that live readers may still ask
    for.
    """
    found = list(Batch.objects.filter(run=run, attempt=attempt).order_by("batch_number", "pk"))
    rows = kept = 0
    if keep:
        for batch in reversed(found[-KEPT_BATCHES:]):
            rows += batch.rows
            if rows > KEPT_ROWS:
                break
            kept += 1
    return found[: len(found) - kept]


def _forget(run: int, attempt: int, taken: Sequence[Batch]) -> None:
    if taken:
        Batch.objects.filter(pk__in=[batch.pk for batch in taken]).delete()
        rows = sum(batch.rows for batch in taken)
        Log.objects.filter(run=run, attempt=attempt).update(
            rows=F("rows") - rows,
            batches=F("batches") - len(taken),
            folded=max(batch.batch_number for batch in taken),
        )


def _series(run: int, attempt: int, keys: Collection[str]) -> dict[str, Series]:
    """The rows of `keys`, made where there are none."""
    known = {one.key: one for one in Series.objects.filter(run=run, attempt=attempt, key__in=keys)}
    new = [Series(run_id=run, attempt=attempt, key=key) for key in sorted(keys) if key not in known]
    return known | {one.key: one for one in Series.objects.bulk_create(new)}


def _save(series: Iterable[Series]) -> None:
    unique = ["run", "attempt", "key"]
    Series.objects.bulk_create(
        list(series), update_conflicts=True, unique_fields=unique, update_fields=KNOWN
    )
