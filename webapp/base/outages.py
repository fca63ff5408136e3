"""Exceptions of Django while Postgres is unavailable, restarts or changes its primary.

Callers retry after them; any other database error is a fault of the data that was written.
"""

from __future__ import annotations

from django.db import InterfaceError, InternalError, OperationalError

OUTAGES = (OperationalError, InterfaceError, InternalError)
