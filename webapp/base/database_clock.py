"""The time by the database's clock, which all hosts share: their own clocks may differ by hours.

What several hosts compare is written and compared by the database (`Now()`). A process that
compares such a time itself, e.g. to say how long a run has been silent, takes its present time from
here, because its host's clock says nothing about a time that the database wrote.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection

# A page asks for the time once per row; the database is asked once in this time.
REFRESH_SECONDS = 10.0


@dataclass(frozen=True)
class _Reading:
    """The database's time, and `time.monotonic()` when it was read."""

    time: datetime
    at: float


_reading: _Reading | None = None


def database_now() -> datetime:
    """Return the time by the database's clock.

    Between two readings the monotonic clock of this host counts on, which nobody sets.
    """
    global _reading
    reading, now = _reading, time.monotonic()
    if reading is None or now - reading.at > REFRESH_SECONDS:
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            reading = _reading = _Reading(cursor.fetchone()[0], now)
    return reading.time + timedelta(seconds=now - reading.at)
