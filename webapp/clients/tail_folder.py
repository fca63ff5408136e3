"""Folds the long tails of client runs after their requests were answered, one run after the other.

A process that is killed before that leaves a tail that is complete but long; the next request of
the run, or its end, has it folded (see `webapp.series.folding`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from django.db import Error, connection

from webapp.clients.client_batch import RunName
from webapp.runs.models import Run
from webapp.series import series_store

log = logging.getLogger(__name__)


class TailFolder:
    """Folds in a thread of its own; `reserved` keeps a run's requests waiting meanwhile.

    Without it these would wait for the lock of the run's row, and with them the requests that share
    their transaction.
    """

    def __init__(self, reserved: Callable[[RunName], AbstractContextManager[None]]) -> None:
        self._reserved = reserved
        # (run, attempt) in the order in which their tails became long, so that they take turns.
        self._due: dict[tuple[int, int], RunName] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def note(self, run: int, attempt: int, name: RunName) -> None:
        """Schedule the fold of an attempt; `name` is how requests call its run."""
        with self._changed:
            self._due.setdefault((run, attempt), name)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="client-folds", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._due:
                    self._changed.wait()
                run, attempt = next(iter(self._due))
                name = self._due.pop((run, attempt))
            try:
                with self._reserved(name):
                    series_store.fold_tail(run, attempt)
            except Run.DoesNotExist:
                continue
            except Error as problem:
                log.warning("The tail of run %s is folded after its next values: %s", run, problem)
                # This thread serves no request, so that Django does not replace the broken
                # connection.
                connection.close()
