"""What Django raises while Postgres is away, restarts or changes its primary: to be waited out, not
to be blamed on what was written.
"""

from __future__ import annotations

from django.db import InterfaceError, InternalError, OperationalError

OUTAGES = (OperationalError, InterfaceError, InternalError)
