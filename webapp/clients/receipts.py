"""Receipts of logs: written with what they stand for, looked at when something comes again, and
removed when they are old.

A stock client tries again for minutes; what Trackio's could not send by then waits in its own
folder until its next run in that project, and says when it was logged. So whatever comes again
after KEPT tells its age, and is compared with the values themselves instead.
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
AT_ONCE = 20_000

RECEIVE = """
INSERT INTO clients_receipt (run_id, log, at) SELECT run, log, now() FROM unnest(%s::bigint[], %s::uuid[]) AS given(run, log)
ON CONFLICT DO NOTHING RETURNING run_id, log
"""
PRUNE = """
DELETE FROM clients_receipt WHERE ctid = ANY(ARRAY(
    SELECT receipt.ctid FROM clients_receipt AS receipt JOIN runs_run AS run ON run.id = receipt.run_id
    WHERE receipt.at < %s AND run.source = %s LIMIT %s
))
"""
Point = tuple[str, float, bytes]


def receive(ids: Collection[tuple[int, UUID]]) -> set[tuple[int, UUID]]:
    """Write a receipt for each (run, log); returns those that had none."""
    if not ids:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(RECEIVE, list(map(list, zip(*sorted(ids), strict=True))))
        return set(cursor.fetchall())


def prune() -> int:
    """Remove the receipts of clients' logs that are older than KEPT; returns how many there were.

    Those of imported files stay: such a file may be brought again at any time.
    """
    before, removed = timezone.now() - KEPT, 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(PRUNE, [before, Run.Source.CLIENT, AT_ONCE])
            removed += cursor.rowcount
            if cursor.rowcount < AT_ONCE:
                return removed


def unknown(run: Run, logs: Sequence[LoggedValues]) -> list[LoggedValues]:
    """`logs` without those so old that their receipts may be gone, and all of whose values the run
    has already.
    """
    horizon = time.time() - KEPT.total_seconds()
    old = [log for log in logs if log.id is not None and log.wall_time < horizon and log.values]
    if not old:
        return list(logs)
    points = {point for log in old for point in _points(log)}
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
    """What identifies the values of a log: their step, or, of figures of the machine, their
    time.
    """
    return [
        (name, log.wall_time if log.step is None else log.step, _bits(value))
        for name, value in log.values.items()
    ]


def _bits(value: float) -> bytes:
    return struct.pack("<d", value)
