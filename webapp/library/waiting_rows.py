"""Rows of a table that threads of the web server execute, beside the requests of pages.

A row waits until a thread takes it, and ends when it gets its `ended_at`. The thread renews
`heartbeat_at` meanwhile; without that, as after the end of the web server, the page of the row lets
it start again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

from django.db import connections
from django.db.models import Model, Q, QuerySet
from django.db.models.functions import Now

from webapp.base.outages import OUTAGES

log = logging.getLogger(__name__)
# Without a heartbeat for this time the process that executed the row is gone.
LOST = timedelta(seconds=30)
FAILED = "This ended by an error of the server, which is in its log."

Row = TypeVar("Row", bound=Model)


class WaitingRows(Generic[Row]):
    """The rows of `model`: `team`, `created_at`, `heartbeat_at`, `ended_at`, `problem`.

    At most `at_once` of them are executed at the same time, and one of each team.
    """

    def __init__(self, model: type[Row], execute: Callable[[Row], None], at_once: int) -> None:
        self._rows: Any = model._default_manager
        self._execute, self._at_once = execute, at_once
        self._threads, self._lock = 0, Lock()

    def unfinished(self) -> QuerySet[Row]:
        rows: QuerySet[Row] = self._rows.filter(ended_at=None)
        return rows

    def start(self) -> None:
        """Start a thread for waiting rows, unless enough of them are at work."""
        with self._lock:
            if self._threads >= self._at_once:
                return
            self._threads += 1
        Thread(target=self._execute_waiting, daemon=True).start()

    def start_if_waiting(self, row: Row) -> None:
        if self._waiting().filter(pk=row.pk).exists():
            self.start()

    def claim(self) -> Row | None:
        """Take the oldest row that nobody executes, of a team that has none at work."""
        at_work = self.unfinished().filter(heartbeat_at__gte=Now() - LOST)
        waiting = self._waiting().exclude(team__in=at_work.values("team"))
        for row in waiting.order_by("created_at").select_related("team", "created_by"):
            # Another thread or server may have taken it since.
            if self._waiting().filter(pk=row.pk).update(heartbeat_at=Now()) == 1:
                return row
        return None

    def execute_next(self) -> bool:
        """Execute the oldest row that waits; False if none does."""
        if (row := self.claim()) is None:
            return False
        try:
            self._execute(row)
        except OUTAGES:
            raise
        # A row that never ended would be executed again and again.
        except Exception:
            log.exception("%s failed", row)
            self.unfinished().filter(pk=row.pk).update(ended_at=Now(), problem=FAILED)
        return True

    def _execute_waiting(self) -> None:
        try:
            while self.execute_next():
                pass
        except OUTAGES as error:
            log.warning("the database does not answer, rows wait: %s", str(error).strip())
        finally:
            connections.close_all()
            with self._lock:
                self._threads -= 1

    def _waiting(self) -> QuerySet[Row]:
        is_lost = Q(heartbeat_at=None) | Q(heartbeat_at__lt=Now() - LOST)
        return self.unfinished().filter(is_lost)
