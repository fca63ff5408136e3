"""The one writer of a process: requests that arrive during a transaction share the next one.

A submitted request is answered after the commit. If a group fails, each of its requests is retried
alone, so that only the bad one fails. While Postgres is away every request fails at once with
`Away`, for its client to retry. The queue is bounded: beyond that, `submit` raises `Full`.

Runs do not wait for each other: large requests are written by a second thread, one at a time, and
long tails are folded by a third one after the answer. Requests of a run that one of them works on
stay in the queue, in their order, and the requests of other runs pass them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

from django.db import InterfaceError, OperationalError, connection, transaction

from webapp.base import notify
from webapp.clients import runs
from webapp.clients.client_batch import ClientBatch, RunAddress, RunName
from webapp.clients.record import record
from webapp.clients.summary import Summaries
from webapp.clients.tail_folder import TailFolder

log = logging.getLogger(__name__)
# Values in the queue, which is in memory. A client whose request is refused keeps its values.
MAX_WAITING = 1_000_000
# Values of one transaction, about. Its runs stay locked until it commits, and each of its requests
# is answered only then.
GROUP = 10_000
# Values of a request that shares no transaction: it takes many times as long as one with a few.
LARGE = 500
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

    @cached_property
    def size(self) -> int:
        return sum(batch.size for batch in self.batches)

    @cached_property
    def runs(self) -> frozenset[RunName]:
        return frozenset(batch.run for batch in self.batches)


class Writer:
    """Takes requests from any thread by `submit`; threads of its own write."""

    def __init__(self) -> None:
        self._waiting: list[WriteRequest] = []
        self._size = 0
        # Runs that a thread writes to, and runs that are folded or shall be next.
        self._written: set[RunName] = set()
        self._folded: set[RunName] = set()
        self._changed = threading.Condition()
        self._threads: dict[bool, threading.Thread] = {}
        self._known: dict[RunName, int] = {}
        self._summaries = Summaries()
        self._folder = TailFolder(self._reserved)
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
            large = job.size > LARGE
            if large not in self._threads or not self._threads[large].is_alive():
                self._threads[large] = threading.Thread(
                    target=self._work, args=(large,), name="client-logs", daemon=True
                )
                self._threads[large].start()
            self._changed.notify_all()
        return job.done

    def _work(self, large: bool) -> None:
        while True:
            jobs = self._gather(large)
            try:
                self._commit(jobs)
            finally:
                self._release(jobs)

    def _gather(self, large: bool) -> list[WriteRequest]:
        """Wait for requests, and return those of the next transaction that were not cancelled.

        Their runs take no other thread's requests until `_release`.
        """
        with self._changed:
            while not (jobs := self._next(large)):
                self._changed.wait()
            taken = set(map(id, jobs))
            self._waiting = [job for job in self._waiting if id(job) not in taken]
            self._size -= sum(job.size for job in jobs)
            # A future that is cancelled later would raise when its result is set.
            jobs = [job for job in jobs if job.done.set_running_or_notify_cancel()]
            self._written.update(run for job in jobs for run in job.runs)
            return jobs

    def _next(self, large: bool) -> list[WriteRequest]:
        """Return the next large request, or small ones up to GROUP values, of free runs."""
        jobs: list[WriteRequest] = []
        size, not_free = 0, self._written | self._folded
        for job in self._waiting:
            if jobs and (large or size >= GROUP):
                break
            # A run's requests keep their order: one that has to wait makes its later ones wait.
            if (job.size > LARGE) != large or not job.runs.isdisjoint(not_free):
                not_free |= job.runs
            else:
                jobs.append(job)
                size += job.size
        return jobs

    def _release(self, jobs: Sequence[WriteRequest]) -> None:
        with self._changed:
            self._written.difference_update(run for job in jobs for run in job.runs)
            self._changed.notify_all()

    @contextmanager
    def _reserved(self, run: RunName) -> Iterator[None]:
        """Wait until no thread writes to the run, and keep its requests in the queue meanwhile."""
        with self._changed:
            self._folded.add(run)
            while run in self._written:
                self._changed.wait()
        try:
            yield
        finally:
            with self._changed:
                self._folded.remove(run)
                self._changed.notify_all()

    def _commit(self, jobs: list[WriteRequest], retry_each: bool = True) -> None:
        batches_by_run: dict[int, list[ClientBatch]] = defaultdict(list)
        try:
            with transaction.atomic():
                for batch in (batch for job in jobs for batch in job.batches):
                    batches_by_run[self._run_of(batch.run)].append(batch)
                recorded = record(batches_by_run)
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
            notify.publish_all(recorded.batch_counts)
            self._summaries.note(batches_by_run)
            for run, attempt in recorded.long_tails:
                self._folder.note(run, attempt, batches_by_run[run][0].run)

    def _forget(self, jobs: list[WriteRequest]) -> None:
        """Look up runs again whose creation was rolled back, or that were deleted."""
        for job in jobs:
            for batch in job.batches:
                self._known.pop(batch.run, None)

    def _fail(self, jobs: list[WriteRequest], problem: Exception) -> None:
        for job in jobs:
            job.done.set_exception(problem)

    def _run_of(self, run: RunName) -> int:
        # Read once: the other thread may forget runs at any time.
        run_id = self._known.get(run)
        if run_id is None:
            run_id = runs.at(run) if isinstance(run, RunAddress) else runs.named(run)
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[run] = run_id
        return run_id

    def _retry_after(self) -> int:
        """Return a delay that grows with the outage, so that few retries outlast it."""
        now = time.monotonic()
        self._away_since = self._away_since or now
        return round(min(LONGEST_RETRY, 2 + (now - self._away_since) / 2))


_writer = Writer()
submit: Callable[[Sequence[ClientBatch]], Future[None]] = _writer.submit
