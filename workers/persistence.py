"""Keeping at it while Postgres is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connections

log = logging.getLogger(__name__)
LONGEST_WAIT_SECONDS = 5.0
Result = TypeVar("Result")


def persist(work: Callable[[], Result]) -> Result:
    """Do `work`, again and again if need be: an outage of the database is waited out. `work` must be safe to repeat."""
    wait = 0.1
    while True:
        try:
            return work()
        except (OperationalError, InterfaceError) as error:
            log.warning("the database does not answer, trying again: %s", str(error).strip())
            connections.close_all()
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
