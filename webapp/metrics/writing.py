"""Appending points: one statement per batch, and a batch that comes twice changes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.db import connection

from webapp.runs.models import Run

INSERT = """
INSERT INTO metrics_point (run_id, attempt, seq, key, step, value, tokens, compute, wall_time, news)
SELECT %s, %s, seq, key, step, value, tokens, compute, wall_time, %s
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::float8[], %s::bigint[], %s::float8[], %s::float8[])
     AS batch(seq, key, step, value, tokens, compute, wall_time)
ON CONFLICT DO NOTHING
"""
KEY_LENGTH = 120
Row = tuple[int, str, int, float, int, float, float]


def append(run: Run, attempt: int, events: Iterable[dict[str, Any]], news: int) -> None:
    """Store the values of `metrics` events, checked before, under batch number `news`."""
    found = [row for event in events for row in points(event)]
    if found:
        with connection.cursor() as cursor:
            cursor.execute(INSERT, [run.pk, attempt, news, *(list(column) for column in zip(*found, strict=True))])


def points(event: dict[str, Any]) -> Iterator[Row]:
    """(seq, key, step, value, tokens, compute, wall time) of each value. "NaN" and the infinities become the floats they stand for."""
    place = (int(event.get("tokens") or 0), float(event.get("compute") or 0.0), float(event["wall_time"]))
    for key, value in event["values"].items():
        yield int(event["seq"]), str(key)[:KEY_LENGTH], int(event["step"]), float(value), *place
