"""Who was deaf may not call others silent: for how long this process has heard everything without a
break.
"""

from __future__ import annotations

import time

from django.db import connection

from workers.machine import host


class Patience:
    """`look` at every sweep, `lose` when Postgres did not answer."""

    def __init__(self) -> None:
        self.calm_since = self.looked_at = time.monotonic()

    def look(self) -> None:
        """A pause between two looks as long as a lease period (this process was stopped, the
        machine slept) counts as an outage.
        """
        now = time.monotonic()
        if now - self.looked_at >= host.LEASE_SECONDS:
            self.calm_since = now
        self.looked_at = now

    def lose(self) -> None:
        self.calm_since = time.monotonic()

    def over(self, seconds: float) -> bool:
        """Whether this process and Postgres have both been there for so long."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT now() - pg_postmaster_start_time() > make_interval(secs => %s)", [seconds]
            )
            has_run_long = bool(cursor.fetchone()[0])
        return has_run_long and time.monotonic() - self.calm_since >= seconds
