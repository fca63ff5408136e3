"""Keeping at it while Postgres is away, and being in nobody's way there."""

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
LONGEST_WAIT_SECONDS = 5.0
STANDSTILL = {
    "idle_in_transaction_session_timeout": "30s",
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
Result = TypeVar("Result")


def let_go_when_stopped() -> None:
    """Have Postgres end transactions of this process that stand still, so that its locks hold
    nobody up when it is stopped or cut off.
    """
    connection_created.connect(_let_go, dispatch_uid="let go when stopped")


def _let_go(connection: BaseDatabaseWrapper, **_: object) -> None:
    with connection.cursor() as cursor:
        for name, value in STANDSTILL.items():
            cursor.execute(f"SET {name} = %s", [value])


def persist(work: Callable[[], Result]) -> Result:
    """Do `work`, again and again if need be: an outage of the database is waited out. `work` must
    be safe to repeat.
    """
    wait = 0.1
    while True:
        try:
            return work()
        except OUTAGES as error:
            log.warning("the database does not answer, trying again: %s", str(error).strip())
            connections.close_all()
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
