"""Makes two writers meet: one continues when the other waits for a lock in Postgres."""

from __future__ import annotations

import time
from concurrent.futures import Future
from typing import Any

from django.db import connection

WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


def wait_for_lock(writer: Future[Any]) -> None:
    """Return when `writer` waits for a lock that the caller's transaction has, or has ended."""
    deadline = time.monotonic() + 60
    while not writer.done():
        with connection.cursor() as cursor:
            # In a transaction Postgres would answer from what it read first.
            cursor.execute("SELECT pg_stat_clear_snapshot()")
            cursor.execute(WAITING)
            if cursor.fetchone()[0]:
                return
        assert time.monotonic() < deadline, "the other writer neither ended nor waits for a lock"
        time.sleep(0.02)
