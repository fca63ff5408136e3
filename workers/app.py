"""The Celery application of the workers.

Tasks are short: a task claims a run and starts a supervisor process; it never trains itself.
"""

from __future__ import annotations

import os
from typing import Any

import django
from celery import Celery, bootsteps
from celery.signals import worker_init
from kombu.entity import Queue

from webapp.base.environment import celery_broker
from workers import heartbeat
from workers.machine import host

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")
django.setup()

app = Celery("workers", broker=celery_broker(), include=["workers.tasks"])
app.conf.update(
    task_serializer="json",
    accept_content=["json"],
    # There is no result backend: Postgres says what a task did.
    task_ignore_result=True,
    task_default_queue="runs",
    # "runs" reaches any host; a host's own queue starts what was placed on it.
    task_queues=[Queue("runs"), Queue(f"node.{host.name()}")],
    # Celery would replace the log handlers that Django has set up from STILLROOM_LOGS.
    worker_hijack_root_logger=False,
    # Redis may be started after this worker.
    broker_connection_retry_on_startup=True,
)


class Heartbeat(bootsteps.StartStopStep):
    """Gives signs of life to the launcher from the loop that takes messages.

    It gives none while it waits for Redis; the launcher then asks Redis itself. The timer is empty
    after a lost connection, and this step is started again with each new one.
    """

    requires = ("celery.worker.consumer:Connection",)

    def start(self, consumer: Any) -> None:
        heartbeat.beat()
        consumer.timer.call_repeatedly(heartbeat.PERIOD_SECONDS, heartbeat.beat)


app.steps["consumer"].add(Heartbeat)


@worker_init.connect
def _on_worker_init(**_: object) -> None:
    from workers.database import set_session_timeouts

    set_session_timeouts()
