"""One state of the database for several queries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction
from psycopg import IsolationLevel


@contextmanager
def snapshot() -> Iterator[None]:
    """A transaction that sees one state of the database, so that what is read piece by piece
    belongs together.

    Inside another transaction it adds nothing: that one either is a snapshot or holds the lock of
    the run that it reads.
    """
    if connection.in_atomic_block:
        yield
        return
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    raw = connection.connection
    raw.isolation_level, raw.read_only = (
        IsolationLevel.REPEATABLE_READ,
        True,
    )  # said with BEGIN, which saves a trip
    try:
        with transaction.atomic():
            yield
    finally:
        if not raw.closed:
            raw.isolation_level = raw.read_only = None
