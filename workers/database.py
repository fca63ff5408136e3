"""Workers and Postgres: wait out its outages, and hold no locks when this process is stopped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from webapp.base.outages import OUTAGES

log = logging.getLogger(__name__)
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.1, 5.0
# A process that is suspended or cut off inside a transaction keeps its row locks until Postgres
# ends its session: after 30 s idle, or when 3 keepalives in a row (15 s + 3 · 5 s) get no answer.
SESSION_TIMEOUTS = {
    "idle_in_transaction_session_timeout": "30s",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
Result = TypeVar("Result")


def set_session_timeouts() -> None:
    """Set SESSION_TIMEOUTS on every connection that this process opens from now on."""
    connection_created.connect(_set_timeouts, dispatch_uid="set session timeouts")


# At the level of the module: Django refers to receivers weakly, so a local function would be gone
# at once.
def _set_timeouts(connection: BaseDatabaseWrapper, **_: object) -> None:
    with connection.cursor() as cursor:
        for name, value in SESSION_TIMEOUTS.items():
            cursor.execute(f"SET {name} = %s", [value])


def retry_on_outage(work: Callable[[], Result]) -> Result:
    """Call `work` until Postgres answers and return its result. `work` must be safe to repeat."""
    wait = FIRST_WAIT_SECONDS
    while True:
        try:
            return work()
        except OUTAGES as error:
            log.warning("the database does not answer, trying again: %s", str(error).strip())
            # A connection that broke is not replaced before it is closed.
            connections.close_all()
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
