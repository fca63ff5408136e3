"""Postgres as Django speaks to it, except that a kept connection is looked at before a request
without asking the server.

Django's own look is a statement: on every request, for a question whose answer the socket knows.
"""

from __future__ import annotations

import select

from django.db.backends.postgresql import base
from psycopg import Error
from psycopg.pq import TransactionStatus


class DatabaseWrapper(base.DatabaseWrapper):
    """Named by `DATABASES["default"]["ENGINE"]`."""

    def is_usable(self) -> bool:
        """Whether the server still holds the connection. One that it has ended has something to
        read: last words, or the end.
        """
        return self._rests() or super().is_usable()

    def _rests(self) -> bool:
        """Whether it is between transactions and nothing has come on it."""
        if (
            self.connection is None
            or self.connection.info.transaction_status != TransactionStatus.IDLE
        ):
            return False
        try:
            socket = self.connection.fileno()
        except Error:
            return False
        waiting = select.poll()
        waiting.register(socket, select.POLLIN)
        return not waiting.poll(0)
