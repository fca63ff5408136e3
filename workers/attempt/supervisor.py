"""The supervisor of one attempt: it starts or adopts the trainer and records its log in Postgres.

    python -m workers supervise RUN ATTEMPT

It runs in a session of its own, so it outlives the Celery worker that started it. If it dies, the
sweep starts another one, which finds the trainer by pid and start time and continues. Postgres or
Redis may be away: training continues, and the log waits on disk.

For an attempt on several machines this is the supervisor of the leading machine, which ends the
attempt for all.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models.functions import Coalesce, Now

from trainer.events import LogReader
from webapp.ingest import event_log
from webapp.nodes.allocation_keys import attempt_key
from webapp.runs import leases
from webapp.runs.models import Attempt, Event, Run, State
from workers.attempt.exit_text import AttemptOutcome, explain
from workers.attempt.members import AttemptMembers
from workers.attempt.preparation import PreparationError, prepare, trainer_environment
from workers.attempt.trainer_process import TrainerProcess
from workers.database import retry_on_outage
from workers.lease import Lease, LeaseLost
from workers.machine import allocation, host

logger = logging.getLogger(__name__)
# Bounds a transaction, and the memory of this process, while a backlog is recorded.
MOST_EVENTS = 16 * event_log.BATCH_EVENTS
UPLOAD_RETRY_SECONDS = 10.0
# Between looks at the trainer and its log, which cost file accesses only.
POLL_SECONDS = 0.2


@dataclass
class Supervisor:
    """Executes one attempt to its end; safe to continue from where another supervisor died."""

    run: Run
    attempt: Attempt
    process: TrainerProcess
    log: LogReader
    members: AttemptMembers
    lease: Lease = field(init=False)
    uploaded_at: float = 0.0
    batch_events: int = event_log.BATCH_EVENTS
    stop_requested: bool = False
    stop_sent: bool = False
    kill_sent: bool = False

    def __post_init__(self) -> None:
        self.lease = Lease(lambda: leases.renew(self.run.pk, self.attempt.number, host.name()))

    def execute(self) -> None:
        try:
            # First, so that no trainer is started for an attempt that is over already.
            self._check()
            if not self.process.started() and not self._start():
                return
            self._follow()
            self._wait_for_members()
        except LeaseLost:
            self.process.kill()
            self._record_remaining_events()
            # The attempt is not the run's current one: only its own row and devices change.
            exit = {"exit": self.process.exit(), "finished_at": Coalesce("finished_at", Now())}
            self._end(lambda: Attempt.objects.filter(pk=self.attempt.pk).update(**exit))
            return
        self._conclude()

    def _start(self) -> bool:
        """Start the trainer; return False if it cannot start here, which fails the run."""
        try:
            arguments = retry_on_outage(lambda: prepare(self.run, self.attempt))
        except PreparationError as error:
            self._finish(AttemptOutcome(State.FAILED, str(error), error.remedy))
            return False
        self.process.start(arguments, trainer_environment(self.run, self.attempt))
        columns = {"pid": self.process.pid(), "folder": str(self.process.folder)}
        retry_on_outage(lambda: Attempt.objects.filter(pk=self.attempt.pk).update(**columns))
        return True

    def _follow(self) -> None:
        """Record the log until the trainer has ended and the log is read to its end."""
        while True:
            # Before the batch is read: a trainer that has ended writes nothing after that, so an
            # empty batch means the end of the log.
            ended = self.process.ended()
            batch = self._record_batch()
            self._retry_uploads(now=ended and not batch)
            self._check()
            if ended and not batch:
                return
            if not batch:
                time.sleep(POLL_SECONDS)

    def _record_batch(self) -> list[dict[str, Any]]:
        """Record the next events of the log in Postgres and return them. Raises LeaseLost.

        Batches double in size while the log is longer than one batch, e.g. after an outage: a
        backlog is then recorded with fewer transactions. Otherwise they are small, so that pages
        follow closely.
        """
        batch = self.log.read_batch(self.batch_events, event_log.BATCH_BYTES)
        if batch:
            self._write(
                lambda: event_log.ingest(
                    self.run.pk, self.attempt.number, batch, self.process.folder, self.log.has_more
                )
            )
        self.batch_events = (
            min(2 * self.batch_events, MOST_EVENTS) if self.log.has_more else event_log.BATCH_EVENTS
        )
        return batch

    def _retry_uploads(self, now: bool) -> None:
        """Store files for which the artifact store had no room, periodically and at the end.

        What still waits after the end is retried by the sweep.
        """
        if now or time.monotonic() - self.uploaded_at >= UPLOAD_RETRY_SECONDS:
            self._write(
                lambda: event_log.retry_uploads(
                    self.run.pk, self.attempt.number, self.process.folder
                )
            )
            self.uploaded_at = time.monotonic()

    def _write(self, work: Callable[[], object]) -> None:
        """Do `work` once the database answers. Raises LeaseLost if the run was deleted."""
        try:
            retry_on_outage(work)
        except (Run.DoesNotExist, Attempt.DoesNotExist) as error:
            raise LeaseLost from error

    def _record_remaining_events(self) -> None:
        """Record what a fenced attempt has still written, on its own abandoned branch."""
        while not self.process.ended():
            time.sleep(POLL_SECONDS)
        self.process.remove_leftovers()
        with contextlib.suppress(LeaseLost):
            while self._record_batch():
                pass
            self._retry_uploads(now=True)

    def _check(self) -> None:
        """Renew the lease and obey requests to stop.

        Raises LeaseLost if Postgres shows a higher attempt number (the fencing token), or the run
        has ended or is deleted.
        """
        own_run = Run.objects.filter(pk=self.run.pk, attempt=self.attempt.number)
        row = self.lease.check(own_run.values("stop_requested_at", "force_requested_at").first)
        if row is None:
            return
        self.stop_requested = row["stop_requested_at"] is not None
        if self.process.started():
            self._signal_trainer(force=row["force_requested_at"] is not None)
        retry_on_outage(self.members.refresh)
        if self.members.leader_is_stuck():
            self.process.kill()

    def _signal_trainer(self, force: bool) -> None:
        if force and not self.kill_sent:
            self.kill_sent = True
            self.process.kill()
        elif self.stop_requested and not self.stop_sent:
            self.stop_sent = True
            self.process.ask_to_stop()

    def _wait_for_members(self) -> None:
        """If a member may be the cause of the end, wait until its reason is known.

        Waits two lease periods at most: after that, a silent member was declared lost.
        """
        deadline = time.monotonic() + 2 * host.LEASE_SECONDS
        while (
            self.members.may_be_cause(self.process.exit(), self.stop_requested)
            and not self.members.cause_is_known()
            and time.monotonic() < deadline
        ):
            time.sleep(POLL_SECONDS)
            self._check()

    def _conclude(self) -> None:
        # Also after its exit: processes that it has started may still use the devices.
        self.process.kill()
        self.process.remove_leftovers()
        # The `end` event may have been recorded by a supervisor that this one has replaced.
        events = Event.objects.filter(run=self.run, attempt=self.attempt.number, type="end")
        end = retry_on_outage(events.order_by("seq").values_list("payload", flat=True).last)
        exit = self.process.exit()
        retry_on_outage(
            lambda: Attempt.objects.filter(pk=self.attempt.pk).update(exit=exit, finished_at=Now())
        )
        incomplete = ["the last line is incomplete"] if self.log.has_partial_line else []
        for damage in self.log.damage + incomplete:
            logger.warning("run %s attempt %d: %s", self.run.public_id, self.attempt.number, damage)
        outcome = explain(exit, end, self.process.output(), self.stop_requested)
        self._finish(self.members.outcome(exit, outcome, self.stop_requested))

    def _finish(self, outcome: AttemptOutcome) -> None:
        run, attempt = self.run.pk, self.attempt.number
        if outcome.state == State.QUEUED:
            self._end(lambda: leases.requeue(run, attempt, outcome.reason))
        else:
            self._end(
                lambda: leases.finish(run, attempt, outcome.state, outcome.reason, outcome.remedy)
            )

    def _end(self, record: Callable[[], Any]) -> None:
        """Record the end of the attempt and release its devices here, in one transaction."""
        key = attempt_key(self.run.public_id, self.attempt.number)

        def end() -> None:
            with transaction.atomic():
                record()
                allocation.release(key, host.name())

        retry_on_outage(end)
