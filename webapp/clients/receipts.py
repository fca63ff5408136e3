"""Receipts of logs: written with the log, checked when a log is sent again, deleted when old.

A stock client retries for minutes. What Trackio's client could not send by then waits in its own
folder until its next run in that project, and carries the time at which it was logged. So a log
that is sent again after KEPT shows its age, and is compared with the stored values instead.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

from django.db import connection
from django.utils import timezone

from webapp.clients.client_batch import LoggedValues
from webapp.runs.models import Run
from webapp.series import series_store

KEPT = timedelta(days=30)
# Rows of one statement, so that none holds locks for long.
AT_ONCE = 20_000

# Of two transactions with the same receipt the second waits for the first, and then gets no row for
# it: a log that is sent twice at the same moment counts once.
RECEIVE = """
INSERT INTO clients_receipt (run_id, log, at)
SELECT run, log, now() FROM unnest(%s::bigint[], %s::uuid[]) AS given(run, log)
ON CONFLICT DO NOTHING RETURNING run_id, log
"""
# DELETE takes no LIMIT; a subquery by `ctid`, the place of a row in the table, needs no index.
PRUNE = """
DELETE FROM clients_receipt WHERE ctid = ANY(ARRAY(
    SELECT receipt.ctid
    FROM clients_receipt AS receipt JOIN runs_run AS run ON run.id = receipt.run_id
    WHERE receipt.at < %s AND run.source = %s LIMIT %s
))
"""
Point = tuple[str, float, bytes]


def receive(ids: Collection[tuple[int, UUID]]) -> set[tuple[int, UUID]]:
    """Write a receipt for each (run, log) and return those that had none."""
    if not ids:
        return set()
    with connection.cursor() as cursor:
        # Sorted, so that two writers insert common receipts in the same order and cannot deadlock.
        cursor.execute(RECEIVE, list(map(list, zip(*sorted(ids), strict=True))))
        return set(cursor.fetchall())


def prune() -> int:
    """Delete receipts of client logs that are older than KEPT, and return their number.

    Receipts of imported files stay: such a file may be imported again at any time.
    """
    before, removed = timezone.now() - KEPT, 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(PRUNE, [before, Run.Source.CLIENT, AT_ONCE])
            removed += cursor.rowcount
            if cursor.rowcount < AT_ONCE:
                return removed


def unknown(run: Run, logs: Sequence[LoggedValues]) -> list[LoggedValues]:
    """Return `logs` without old ones whose receipts may be deleted and whose values are stored."""
    horizon = time.time() - KEPT.total_seconds()
    old = [log for log in logs if log.id is not None and log.wall_time < horizon and log.values]
    if not old:
        return list(logs)
    points = {point for log in old for point in _points(log)}
    # Only points of `logs` are collected, because the run may have far more than fit in memory.
    # Abandoned tails are read too: a log that was replaced by a resumed run was received once.
    stored_points: set[Point] = set()
    for _, step, key, value, _, _, when in series_store.export_rows(
        run, sorted({name for name, *_ in points}), abandoned=True
    ):
        stored_points.update(
            points.intersection(((key, step, _bits(value)), (key, when, _bits(value))))
        )
    repeated_ids = {log.id for log in old if stored_points.issuperset(_points(log))}
    return [log for log in logs if log.id is None or log.id not in repeated_ids]


def _points(log: LoggedValues) -> list[Point]:
    """Return what identifies the values of a log: key, value and step, or time without a step."""
    return [
        (name, log.wall_time if log.step is None else log.step, _bits(value))
        for name, value in log.values.items()
    ]


def _bits(value: float) -> bytes:
    # Compared as bytes, because NaN is not equal to itself.
    return struct.pack("<d", value)
