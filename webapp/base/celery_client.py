"""A bare Celery client: the web sends wake-ups by name and knows nothing of the code that answers
them.

A wake-up that cannot be sent is no loss: the sweep finds in Postgres what waits.
"""

from __future__ import annotations

import logging
from functools import cache

from celery import Celery
from kombu.exceptions import OperationalError

from webapp.base import environment

log = logging.getLogger(__name__)
STALE_SECONDS = 60  # the sweep has been by more than once


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


def wake_placement() -> None:
    """Ask a worker to look at the queue of runs now."""
    _send("workers.place", "runs")


def wake_node(name: str) -> None:
    """Tell the machine `name` that a run was placed on it."""
    _send("workers.start_placed", f"node.{name}")


def wake_jobs() -> None:
    """Ask a worker to look for parts of jobs that it could carry out."""
    _send("workers.start_shards", "runs")


def _send(task: str, queue: str) -> None:
    try:
        _client().send_task(task, queue=queue, retry=False, expires=STALE_SECONDS)
    except (OperationalError, OSError) as problem:
        log.warning(
            "Redis did not take %s (%s); the sweep will find what it was about.", task, problem
        )
