"""Django's Postgres backend with a cheaper health check of persistent connections.

Django checks with a statement, one round trip per request; here the state of the socket is enough.
"""

from __future__ import annotations

import select

from django.db.backends.postgresql import base
from psycopg import Error
from psycopg.pq import TransactionStatus


class DatabaseWrapper(base.DatabaseWrapper):
    """Named by `DATABASES["default"]["ENGINE"]`."""

    def is_usable(self) -> bool:
        """Return whether the server still has the connection.

        The socket of a connection that the server has closed is readable: an error or end of file.
        """
        return self._is_idle() or super().is_usable()

    def _is_idle(self) -> bool:
        """Return whether it is between transactions and there is nothing to read."""
        if (
            self.connection is None
            or self.connection.info.transaction_status != TransactionStatus.IDLE
        ):
            return False
        try:
            socket = self.connection.fileno()
        except Error:
            return False
        # `select.select` fails for file descriptors from 1024 on, which a web process with many
        # live pages reaches.
        poll = select.poll()
        poll.register(socket, select.POLLIN)
        return not poll.poll(0)
