"""Whether this process may declare others dead: not right after it lost the database itself."""

from __future__ import annotations

import time

from django.db import connection

from workers.machine import host


class OutageGuard:
    """The time since the last outage. Call `check` at every poll, `record_outage` at an outage."""

    def __init__(self) -> None:
        self.calm_since = self.checked_at = time.monotonic()

    def check(self) -> None:
        """Record an outage if the last check is a lease period ago or more.

        This process was then suspended, or the machine slept, and missed the others' heartbeats.
        """
        now = time.monotonic()
        if now - self.checked_at >= host.LEASE_SECONDS:
            self.calm_since = now
        self.checked_at = now

    def record_outage(self) -> None:
        self.calm_since = time.monotonic()

    def is_calm_for(self, seconds: float) -> bool:
        """Return whether this process and Postgres have both run without an outage for so long."""
        # Postgres may have restarted without a query of ours having failed.
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT now() - pg_postmaster_start_time() > make_interval(secs => %s)", [seconds]
            )
            has_run_long = bool(cursor.fetchone()[0])
        return has_run_long and time.monotonic() - self.calm_since >= seconds
