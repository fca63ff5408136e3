"""Exceptions of Django while Postgres is unavailable, restarts or changes its primary.

Callers retry after them; any other database error is a fault of the data that was written.
"""

from __future__ import annotations

from django.db import InterfaceError, InternalError, OperationalError

# InternalError is what psycopg raises for a write to a server that is read-only (25006), as the old
# primary or a standby is while the primary changes.
OUTAGES = (OperationalError, InterfaceError, InternalError)
