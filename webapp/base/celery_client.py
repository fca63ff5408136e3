"""A minimal Celery client: the web sends tasks by name and does not import the workers.

A task that cannot be sent loses nothing: the periodic sweep finds in Postgres what is waiting.
"""

from __future__ import annotations

import logging
from functools import cache

from celery import Celery
from kombu.exceptions import OperationalError

from webapp.base import environment

log = logging.getLogger(__name__)
# After this time a task is dropped: the sweep has run more than once.
EXPIRY_SECONDS = 60


@cache
def _client() -> Celery:
    client = Celery("stillroom", broker=environment.celery_broker(), backend=None)
    client.conf.update(
        task_serializer="json",
        accept_content=["json"],
        # Pages send tasks, and no page may wait long for a Redis that does not answer.
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
    """Ask a worker to look for parts of jobs that it could execute."""
    _send("workers.start_shards", "runs")


def wake_preflights() -> None:
    """Ask a worker to look for definitions to check."""
    _send("workers.start_preflights", "runs")


def wake_bases() -> None:
    """Ask a worker to look for base students to train."""
    _send("workers.start_bases", "runs")


def _send(task: str, queue: str) -> None:
    try:
        _client().send_task(task, queue=queue, retry=False, expires=EXPIRY_SECONDS)
    except (OperationalError, OSError) as error:
        log.warning(
            "Redis did not accept the task %s (%s); the sweep will find the work.", task, error
        )
