"""Chunks in the database: values of one key, and their places, which keys share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from django.db import connection
from django.db.models import Max, Q

from webapp.series.models import SMALL, Axis, Chunk, Series
from webapp.series.packing import Floats, pack, unpack
from webapp.series.points import LEAST, MOST, Places, Points, Strand

LARGEST = 8192  # values in a chunk of a run that goes on

ASKED = """
FROM unnest(%(series)s::int8[], %(low)s::int8[], %(high)s::int8[]) WITH ORDINALITY AS asked(series, low, high, place)
JOIN metrics_chunk AS chunk ON chunk.series_id = asked.series AND chunk.last_step >= asked.low AND chunk.first_step <= asked.high
"""
ALL = f"SELECT place, axis_id, data {ASKED} ORDER BY place, first_step, id"
IN_TIME = f"""
SELECT place, axis_id, chunk.data {ASKED} JOIN metrics_axis AS axis ON axis.id = axis_id AND high_time >= %(from)s AND low_time <= %(to)s
ORDER BY place, first_step, chunk.id
"""
BROKEN = f"""
SELECT place, id, first_step, last_step, CASE WHEN first_step >= low AND last_step <= high THEN not_finite ELSE 0 END {ASKED} AND not_finite > 0
"""


class Stretch(NamedTuple):
    """Steps `low` to `high`, both included, of a series."""

    series: int
    low: int = LEAST
    high: int = MOST


def fetch(asked: Sequence[Stretch]) -> list[list[Strand]]:
    """The chunks that overlap each stretch, whole, in order of their first step."""
    return _fetch(ALL, asked, {})


def fetch_broken(asked: Sequence[Stretch], most: int) -> list[list[Strand]]:
    """Of the chunks that overlap each stretch those with values that are not finite, enough of them
    to find the first `most` values.
    """
    found: list[list[Strand]] = [[] for _ in asked]
    if not asked:
        return found
    chosen: list[tuple[int, int]] = []
    rows = np.array(_rows(BROKEN, asked, {}), np.int64).reshape(-1, 5)
    for place in np.unique(rows[:, 0]):
        _, ids, first, last, broken = rows[rows[:, 0] == place].T
        order = np.argsort(last)
        over = np.concatenate(
            [[0], np.cumsum(broken[order])]
        )  # in chunks that end before a step; one that the stretch cuts may have none
        before = over[np.searchsorted(last[order], first)]
        chosen += [(int(place) - 1, pk) for pk in ids[before < most].tolist()]
    opened = Chunk.objects.in_bulk([pk for _, pk in chosen])
    places = axes({chunk.axis_id for chunk in opened.values()})
    for place, pk in chosen:
        found[place].append(Strand(places[opened[pk].axis_id], values(opened[pk])))
    return found


def overlapping(series: Series, places: Places) -> list[Strand]:
    """The chunks of `series` that may hold points with the steps and wall times of `places`."""
    stretch = Stretch(series.pk, int(places.step.min()), int(places.step.max()))
    (found,) = _fetch(
        IN_TIME,
        [stretch],
        {"from": float(places.wall_time.min()), "to": float(places.wall_time.max())},
    )
    return found


def ending(series: Series, high: int) -> list[Strand]:
    """The chunks that may hold the last point up to step `high`."""
    begun = Chunk.objects.filter(series=series, first_step__lte=high)
    whole = begun.filter(last_step__lte=high).aggregate(last=Max("last_step"))["last"]
    found = list(begun.filter(Q(last_step__gt=high) | Q(last_step=whole)))
    places = axes({chunk.axis_id for chunk in found})
    return [Strand(places[chunk.axis_id], values(chunk)) for chunk in found]


def _fetch(sql: str, asked: Sequence[Stretch], values: dict[str, float]) -> list[list[Strand]]:
    found: list[list[Strand]] = [[] for _ in asked]
    rows = _rows(sql, asked, values)
    places = axes({axis for _, axis, _ in rows})
    for place, axis, data in rows:
        (one,) = unpack(data)
        found[place - 1].append(Strand(places[axis], one))
    return found


def _rows(sql: str, asked: Sequence[Stretch], values: dict[str, float]) -> list[Any]:
    if not asked:
        return []
    with connection.cursor() as cursor:
        columns: dict[str, Any] = dict(
            zip(("series", "low", "high"), map(list, zip(*asked, strict=True)), strict=True)
        )
        cursor.execute(sql, {**columns, **values})
        return cursor.fetchall()


def axes(ids: Iterable[int]) -> dict[int, Places]:
    """Places by id."""
    wanted = list(ids)
    found = Axis.objects.filter(pk__in=wanted).values_list("pk", "data") if wanted else ()
    return {pk: Places(*unpack(data)) for pk, data in found}


def axes_of(run: int, attempt: int) -> list[Places]:
    """All places of an attempt."""
    return list(
        axes(Axis.objects.filter(run=run, attempt=attempt).values_list("pk", flat=True)).values()
    )


def small(series: Iterable[Series]) -> dict[int, list[Chunk]]:
    """The chunks of each series that are to grow."""
    found: dict[int, list[Chunk]] = {}
    for chunk in Chunk.objects.filter(series__in=list(series), count__lt=SMALL).order_by("pk"):
        found.setdefault(chunk.series_id, []).append(chunk)
    return found


def values(chunk: Chunk) -> Floats:
    """The values of a chunk."""
    (found,) = unpack(chunk.data)
    return found


def write(
    run: int, attempt: int, series: Sequence[tuple[Series, Points]], largest: int = LARGEST
) -> None:
    """Store the points of each series in chunks of about equal size, at most `largest` values."""
    known: dict[tuple[int, int], tuple[Places, Axis]] = {}
    pieces: list[tuple[Series, Axis, Places, Points]] = []
    for one, points in series:
        for start, stop in _cuts(len(points), largest):
            key = (id(points.places), start)
            if key not in known:
                known[key] = (
                    points.places,
                    _axis(run, attempt, points.places.take(slice(start, stop))),
                )
            pieces.append(
                (
                    one,
                    known[key][1],
                    points.places,
                    Points(points.places.take(slice(start, stop)), points.values[start:stop]),
                )
            )
    ids = _stored(run, attempt, {bytes(axis.digest): axis for _, axis in known.values()})
    Chunk.objects.bulk_create(
        Chunk(
            series=one,
            axis_id=ids[bytes(axis.digest)],
            count=len(points),
            not_finite=int((~np.isfinite(points.values)).sum()),
            first_step=int(points.places.step[0]),
            last_step=int(points.places.step[-1]),
            data=pack([points.values]),
        )
        for one, axis, _, points in pieces
    )


def drop(chunks: Iterable[Chunk]) -> None:
    """Remove chunks, and places that no chunk is left of."""
    gone = list(chunks)
    Chunk.objects.filter(pk__in=[chunk.pk for chunk in gone]).delete()
    Axis.objects.filter(pk__in={chunk.axis_id for chunk in gone}, chunk=None).delete()


def _cuts(length: int, largest: int) -> list[tuple[int, int]]:
    pieces = max(1, -(-length // largest))
    edges = [length * piece // pieces for piece in range(pieces + 1)]
    return [(start, stop) for start, stop in pairwise(edges) if stop > start]


def _axis(run: int, attempt: int, places: Places) -> Axis:
    data = pack(places.columns())
    extents = {}
    for name, column in (
        ("tokens", places.tokens),
        ("compute", places.compute),
        ("time", places.wall_time),
    ):
        extents[f"low_{name}"], extents[f"high_{name}"] = column.min().item(), column.max().item()
    return Axis(
        run_id=run,
        attempt=attempt,
        digest=hashlib.blake2b(data, digest_size=16).digest(),
        data=data,
        **extents,
    )


def _stored(run: int, attempt: int, axes: dict[bytes, Axis]) -> dict[bytes, int]:
    """Digest → id."""
    Axis.objects.bulk_create(axes.values(), ignore_conflicts=True)
    found = Axis.objects.filter(run=run, attempt=attempt, digest__in=list(axes)).values_list(
        "digest", "pk"
    )
    return {bytes(digest): pk for digest, pk in found}
