"""Several queries on one snapshot of the database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection, transaction
from psycopg import IsolationLevel


@contextmanager
def snapshot() -> Iterator[None]:
    """Open a read-only REPEATABLE READ transaction, so that several queries see one state.

    Inside another transaction it does nothing: that one is a snapshot itself or holds the lock of
    the run that it reads.
    """
    if connection.in_atomic_block:
        yield
        return
    # Django checks a kept connection when it opens a cursor. The isolation level has to be set
    # before that, and setting it on a connection that the server has closed fails.
    connection.close_if_health_check_failed()
    connection.ensure_connection()
    raw = connection.connection
    # psycopg sends both with BEGIN, which saves a round trip.
    raw.isolation_level, raw.read_only = IsolationLevel.REPEATABLE_READ, True
    try:
        with transaction.atomic():
            yield
    finally:
        # The connection is kept for later requests, which write. One that broke inside the block is
        # closed, and setting anything on it would hide the error.
        if not raw.closed:
            raw.isolation_level = raw.read_only = None
