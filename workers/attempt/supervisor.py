"""The supervisor of one attempt: it starts the trainer or adopts one that runs, carries its log
into Postgres and ends with it.

    python -m workers supervise RUN ATTEMPT

It runs in a session of its own, so it outlives the Celery worker that started it. If it dies, the
sweep starts another, which finds the trainer by pid and start time and goes on. Postgres or Redis
may be away: training continues, and the log waits on disk.

Of an attempt on several machines this is the leading one's, which ends the attempt for all.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models.functions import Coalesce, Now

from trainer.events import LogReader
from webapp.ingest import event_log
from webapp.nodes.holders import holder_of
from webapp.runs import lifecycle
from webapp.runs.models import Attempt, Event, Run, State
from workers.attempt.exit_text import Ending, explain
from workers.attempt.members import Party
from workers.attempt.preparation import Unresolved, exported, prepare
from workers.attempt.trainer_process import TrainerProcess
from workers.machine import allocation, host
from workers.retry import persist

logger = logging.getLogger(__name__)
MOST_EVENTS = 16 * event_log.BATCH_EVENTS
STORE_AGAIN_SECONDS = 10.0
POLL_SECONDS = 0.2
LOOK_SECONDS = 1.0


class Fenced(Exception):
    """Postgres shows a higher attempt, or the run has ended or is gone: this supervisor may not
    change the run any more.
    """


@dataclass
class Supervisor:
    """Carries one attempt from its start, or from where another supervisor left it, to its end."""

    run: Run
    attempt: Attempt
    process: TrainerProcess
    log: LogReader
    party: Party
    looked_at: float = 0.0
    beat_at: float = 0.0
    stored_at: float = 0.0
    batch_events: int = event_log.BATCH_EVENTS
    stop_wanted: bool = False
    stop_sent: bool = False
    kill_sent: bool = False

    @property
    def holder(self) -> str:
        """What the attempt is called where devices are lent."""
        return holder_of(self.run.public_id, self.attempt.number)

    def carry_out(self) -> None:
        try:
            self._look()
            if not self.process.started() and not self._start():
                return
            self._follow()
            self._hear_the_others()
        except Fenced:
            self.process.kill()
            self._drain()
            self._conclude_late()
            return
        self._conclude()

    def _start(self) -> bool:
        """Start the trainer; False if the definition cannot be carried out here, which ends the run
        with the reason.
        """
        try:
            arguments = persist(lambda: prepare(self.run, self.attempt))
        except Unresolved as error:
            self._finish(Ending(State.FAILED, str(error), error.remedy))
            return False
        self.process.start(arguments, exported(self.run, self.attempt))
        known = {"pid": self.process.pid(), "folder": str(self.process.folder)}
        persist(lambda: Attempt.objects.filter(pk=self.attempt.pk).update(**known))
        return True

    def _follow(self) -> None:
        """Until the trainer has ended and its log is read to the end."""
        while True:
            ended = self.process.ended()
            batch = self._carry()
            self._store_again(now=ended and not batch)
            self._look()
            if ended and not batch:
                return
            if not batch:
                time.sleep(POLL_SECONDS)

    def _carry(self) -> list[dict[str, Any]]:
        """Take the next events of the log into Postgres: few at a time while it keeps up, ever more
        while it does not. Raises Fenced.
        """
        batch = self.log.read_batch(self.batch_events, event_log.BATCH_BYTES)
        if batch:
            self._persist(
                lambda: event_log.ingest(
                    self.run.pk, self.attempt.number, batch, self.process.folder, self.log.has_more
                )
            )
        self.batch_events = (
            min(2 * self.batch_events, MOST_EVENTS) if self.log.has_more else event_log.BATCH_EVENTS
        )
        return batch

    def _store_again(self, now: bool) -> None:
        """Try now and then, and at the end, to store what the artifact store had no room for; the
        sweep remembers what then still waits.
        """
        if now or time.monotonic() - self.stored_at >= STORE_AGAIN_SECONDS:
            self._persist(
                lambda: event_log.store_again(self.run.pk, self.attempt.number, self.process.folder)
            )
            self.stored_at = time.monotonic()

    def _persist(self, work: Callable[[], object]) -> None:
        """Record something, once the database answers. Raises Fenced if there is no run to record
        it of any more.
        """
        try:
            persist(work)
        except (Run.DoesNotExist, Attempt.DoesNotExist) as error:
            raise Fenced from error

    def _drain(self) -> None:
        """What a fenced attempt has still written belongs to its own abandoned tail."""
        while not self.process.ended():
            time.sleep(POLL_SECONDS)
        with contextlib.suppress(Fenced):
            while self._carry():
                pass
            self._store_again(now=True)

    def _look(self) -> None:
        """Show that this attempt lives, and see whether anyone wants it to stop. Raises Fenced."""
        now = time.monotonic()
        if now - self.looked_at < LOOK_SECONDS:
            return
        self.looked_at = now
        asked = ("attempt", "stop_requested_at", "force_requested_at")
        wishes = persist(lambda: Run.objects.filter(pk=self.run.pk).values(*asked).first())
        if wishes is None or wishes["attempt"] != self.attempt.number:
            raise Fenced
        if now - self.beat_at >= host.HEARTBEAT_SECONDS:
            self.beat_at = now
            if not persist(
                lambda: lifecycle.heartbeat(self.run.pk, self.attempt.number, host.name())
            ):
                raise Fenced
        self.stop_wanted = wishes["stop_requested_at"] is not None
        if self.process.started():
            self._obey(force=wishes["force_requested_at"] is not None)
        persist(self.party.look)
        if self.party.is_beyond_waiting():
            self.process.kill()

    def _obey(self, force: bool) -> None:
        if force and not self.kill_sent:
            self.kill_sent = True
            self.process.kill()
        elif self.stop_wanted and not self.stop_sent:
            self.stop_sent = True
            self.process.ask_to_stop()

    def _hear_the_others(self) -> None:
        """Where another machine may be the cause of the end, wait until it says so, or as long as
        it takes to call it lost.
        """
        deadline = time.monotonic() + 2 * host.LEASE_SECONDS
        while (
            self.party.is_puzzled_by(self.process.exit(), self.stop_wanted)
            and not self.party.has_told()
            and time.monotonic() < deadline
        ):
            time.sleep(POLL_SECONDS)
            self._look()

    def _conclude(self) -> None:
        self.process.kill()
        ended, said = self.process.exit(), persist(self._last_words)
        persist(
            lambda: Attempt.objects.filter(pk=self.attempt.pk).update(exit=ended, finished_at=Now())
        )
        torn = ["the last line is not whole"] if self.log.has_partial_line else []
        for damage in self.log.damage + torn:
            logger.warning("run %s attempt %d: %s", self.run.public_id, self.attempt.number, damage)
        ending = explain(ended, said, self.process.output(), self.stop_wanted)
        self._finish(self.party.judged(ended, ending, self.stop_wanted))

    def _last_words(self) -> dict[str, Any] | None:
        """The trainer's `end` event, whichever supervisor has carried it."""
        said = Event.objects.filter(run=self.run, attempt=self.attempt.number, type="end").order_by(
            "seq"
        )
        return said.values_list("payload", flat=True).last()

    def _conclude_late(self) -> None:
        """The attempt is not the run's any more: it ends for itself."""
        ended = {"exit": self.process.exit(), "finished_at": Coalesce("finished_at", Now())}
        self._end(lambda: Attempt.objects.filter(pk=self.attempt.pk).update(**ended))

    def _finish(self, ending: Ending) -> None:
        if ending.state == State.QUEUED:
            self._end(lambda: lifecycle.requeue(self.run.pk, self.attempt.number, ending.reason))
        else:
            self._end(
                lambda: lifecycle.finish(
                    self.run.pk, self.attempt.number, ending.state, ending.reason, ending.remedy
                )
            )

    def _end(self, record: Callable[[], Any]) -> None:
        """Record how it ended and give the devices back, both or neither."""

        def end() -> None:
            with transaction.atomic():
                record()
                allocation.release(self.holder, host.name())

        persist(end)
