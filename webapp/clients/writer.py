"""The one writer of a process: requests that arrive during a transaction share the next one.

A submitted request is answered after the commit. If a group fails, each of its requests is retried
alone, so that only the bad one fails. While Postgres is away every request fails at once with
`Away`, for its client to retry. The queue is bounded: beyond that, `submit` raises `Full`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from django.db import InterfaceError, OperationalError, connection, transaction

from webapp.base import notify
from webapp.clients import runs
from webapp.clients.client_batch import ClientBatch, RunAddress, RunPublicId
from webapp.clients.record import record
from webapp.clients.summary import Summaries

log = logging.getLogger(__name__)
# Values in the queue, which is in memory. A client whose request is refused keeps its values.
MAX_WAITING = 1_000_000
# Values of one transaction, about. Its runs stay locked until it commits, and each of its requests
# is answered only then.
GROUP = 50_000
# Runs whose ids are cached, so that a request of a known run needs no query to find it.
REMEMBERED = 10_000
# Seconds. MLflow's client retries for about four minutes, which is several tries at this delay.
LONGEST_RETRY = 60


class Full(Exception):
    """The queue holds more than can be written soon."""


class Away(Exception):
    """Postgres does not answer; the client should retry after `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(
            "The database does not answer just now. Send this again in a moment; "
            "nothing counts twice."
        )
        self.retry_after = retry_after


@dataclass(frozen=True)
class WriteRequest:
    """What one request logs, to any number of runs."""

    batches: Sequence[ClientBatch]
    done: Future[None] = field(default_factory=Future)

    @property
    def size(self) -> int:
        return sum(batch.size for batch in self.batches)


class Writer:
    """Takes requests from any thread by `submit`; one thread of its own writes."""

    def __init__(self) -> None:
        self._waiting: list[WriteRequest] = []
        self._size = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._known: dict[RunAddress | RunPublicId, int] = {}
        self._summaries = Summaries()
        self._away_since: float | None = None

    def submit(self, batches: Sequence[ClientBatch]) -> Future[None]:
        """Return a future that is done when everything is committed.

        It fails with Away, Run.DoesNotExist or describe.Unfit. Raises Full.
        """
        job = WriteRequest(batches)
        with self._changed:
            # An empty queue takes a request of any size: else one that is too large never succeeds.
            if self._waiting and self._size + job.size > MAX_WAITING:
                raise Full(
                    "More is being logged than this server can write. Send this again in a moment."
                )
            self._waiting.append(job)
            self._size += job.size
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._work, name="client-logs", daemon=True)
                self._thread.start()
            self._changed.notify()
        return job.done

    def _work(self) -> None:
        while True:
            self._commit(self._gather())

    def _gather(self) -> list[WriteRequest]:
        """Wait for requests, and return those of the next transaction that were not cancelled."""
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            jobs: list[WriteRequest] = []
            size = 0
            while self._waiting and (not jobs or size < GROUP):
                jobs.append(self._waiting.pop(0))
                size += jobs[-1].size
            self._size -= size
            # A future that is cancelled later would raise when its result is set.
            return [job for job in jobs if job.done.set_running_or_notify_cancel()]

    def _commit(self, jobs: list[WriteRequest], retry_each: bool = True) -> None:
        batches_by_run: dict[int, list[ClientBatch]] = defaultdict(list)
        try:
            with transaction.atomic():
                for batch in (batch for job in jobs for batch in job.batches):
                    batches_by_run[self._run_of(batch.run)].append(batch)
                batch_counts = record(batches_by_run)
        except (OperationalError, InterfaceError) as problem:
            log.warning("Postgres does not take what clients log: %s", problem)
            # This thread serves no request, so that Django does not replace the broken connection.
            connection.close()
            self._forget(jobs)
            self._fail(jobs, Away(self._retry_after()))
        except Exception as problem:
            self._forget(jobs)
            # Each request alone: a bad one fails alone, and a run that was deleted is created
            # again.
            if retry_each:
                for job in jobs:
                    self._commit([job], retry_each=False)
            else:
                self._fail(jobs, problem)
        else:
            self._away_since = None
            # Answers come first: the rows are committed, and Redis may take a second to fail.
            for job in jobs:
                job.done.set_result(None)
            notify.publish_all(batch_counts)
            self._summaries.note(batches_by_run)

    def _forget(self, jobs: list[WriteRequest]) -> None:
        """Look up runs again whose creation was rolled back, or that were deleted."""
        for job in jobs:
            for batch in job.batches:
                self._known.pop(batch.run, None)

    def _fail(self, jobs: list[WriteRequest], problem: Exception) -> None:
        for job in jobs:
            job.done.set_exception(problem)

    def _run_of(self, run: RunAddress | RunPublicId) -> int:
        if run not in self._known:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[run] = runs.at(run) if isinstance(run, RunAddress) else runs.named(run)
        return self._known[run]

    def _retry_after(self) -> int:
        """Return a delay that grows with the outage, so that few retries outlast it."""
        now = time.monotonic()
        self._away_since = self._away_since or now
        return round(min(LONGEST_RETRY, 2 + (now - self._away_since) / 2))


_writer = Writer()
submit: Callable[[Sequence[ClientBatch]], Future[None]] = _writer.submit
