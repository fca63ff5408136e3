"""The Celery application of the workers.

Tasks are short: a task claims a run and starts a supervisor process; it never trains itself.
"""

from __future__ import annotations

import os

import django
from celery import Celery
from celery.signals import worker_init
from kombu.entity import Queue

from webapp.base.environment import celery_broker
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


@worker_init.connect
def _on_worker_init(**_: object) -> None:
    from workers.database import set_session_timeouts

    set_session_timeouts()
