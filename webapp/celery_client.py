"""A bare Celery client: the web sends wake-ups by name and knows nothing of the code that answers them.

A wake-up that cannot be sent is no loss: the sweep finds queued runs in Postgres.
"""

from __future__ import annotations

import logging
from functools import cache

from celery import Celery
from kombu.exceptions import OperationalError

from webapp import environment

log = logging.getLogger(__name__)


@cache
def _client() -> Celery:
    client = Celery("stillroom", broker=environment.celery_broker(), backend=None)
    client.conf.update(
        task_serializer="json",
        accept_content=["json"],
        broker_connection_timeout=2,
        broker_transport_options={"socket_connect_timeout": 2, "socket_timeout": 2},
    )
    return client


def wake(run_id: int) -> None:
    """Ask a worker to look at run `run_id` now."""
    try:
        _client().send_task("workers.start_run", args=[run_id], queue="runs", retry=False)
    except (OperationalError, OSError) as problem:
        log.warning("Redis did not take the wake-up of run %s (%s); the sweep will find it.", run_id, problem)
