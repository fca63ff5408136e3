"""The supervisor of one attempt: it starts the trainer or adopts one that runs, carries its log into Postgres and ends with it.

    python -m workers.supervisor RUN ATTEMPT

It runs in a session of its own, so it outlives the Celery worker that started it. If it dies, the sweep starts another, which finds
the trainer by pid and start time and goes on. Postgres or Redis may be away: training continues, and the log waits on disk.
"""

from __future__ import annotations

import itertools
import logging
import time
from dataclasses import dataclass, field
from typing import Any

from trainer.engine.events import Reader
from webapp.runs import ingest, lifecycle
from webapp.runs.models import Attempt, Run, State
from workers import host
from workers.exits import VANISHED, Ending, explain
from workers.persistence import persist
from workers.preparation import Unresolved, prepare
from workers.trainer_process import TrainerProcess

logger = logging.getLogger(__name__)
BATCH_EVENTS = 500
MOST_RESTARTS = 3
POLL_SECONDS = 0.2
LOOK_SECONDS = 1.0


class Fenced(Exception):
    """Postgres shows a higher attempt, or the run is gone: this supervisor may not change the run any more."""


@dataclass
class Supervisor:
    """Carries one attempt from its start, or from where another supervisor left it, to its end."""

    run: Run
    attempt: Attempt
    process: TrainerProcess
    log: Reader
    looked_at: float = 0.0
    beat_at: float = 0.0
    stop_sent: bool = False
    kill_sent: bool = False
    end: dict[str, Any] | None = field(default=None)

    def carry_out(self) -> None:
        try:
            if not self.process.started() and not self._start():
                return
            self._follow()
        except Fenced:
            self.process.kill()
            self._drain()
            return
        self._conclude()

    def _start(self) -> bool:
        """Start the trainer; False if the definition cannot be carried out here, which ends the run with the reason."""
        try:
            arguments = prepare(self.run, self.attempt)
        except Unresolved as error:
            self._finish(Ending(State.FAILED, str(error), "Correct it in a clone of this run."))
            return False
        self.process.start(arguments)
        known = {"pid": self.process.pid(), "folder": str(self.process.folder)}
        persist(lambda: Attempt.objects.filter(pk=self.attempt.pk).update(**known))
        return True

    def _follow(self) -> None:
        """Until the trainer has ended and its log is read to the end."""
        while True:
            ended = self._ended()
            batch = self._carry()
            self._look()
            if ended and not batch:
                return
            if not batch:
                time.sleep(POLL_SECONDS)

    def _ended(self) -> bool:
        if self.process.exit() is not None:
            return True
        return self.process.pid() is None and not self.process.watched()

    def _carry(self) -> list[dict[str, Any]]:
        """Take the next events of the log into Postgres."""
        batch = list(itertools.islice(self.log.poll(), BATCH_EVENTS))
        if batch:
            ends = [event for event in batch if event["type"] == "end"]
            self.end = ends[-1] if ends else self.end
            persist(lambda: ingest.ingest(self.run.pk, self.attempt.number, batch, self.process.folder))
        return batch

    def _drain(self) -> None:
        """What a fenced attempt has still written belongs to its own abandoned tail."""
        while not self._ended():
            time.sleep(POLL_SECONDS)
        while self._carry():
            pass

    def _look(self) -> None:
        """Show that this attempt lives, and see whether anyone wants it to stop. Raises Fenced."""
        now = time.monotonic()
        if now - self.looked_at < LOOK_SECONDS:
            return
        self.looked_at = now
        wishes = persist(lambda: Run.objects.filter(pk=self.run.pk).values("attempt", "stop_requested_at", "force_requested_at").first())
        if wishes is None or wishes["attempt"] != self.attempt.number:
            raise Fenced
        if now - self.beat_at >= host.HEARTBEAT_SECONDS:
            self.beat_at = now
            persist(lambda: lifecycle.heartbeat(self.run.pk, self.attempt.number, self.run.lease_holder))
        self._obey(wishes["stop_requested_at"] is not None, wishes["force_requested_at"] is not None)

    def _obey(self, stop: bool, force: bool) -> None:
        if force and not self.kill_sent:
            self.kill_sent = True
            self.process.kill()
        elif stop and not self.stop_sent:
            self.stop_sent = True
            self.process.ask_to_stop()

    def _conclude(self) -> None:
        ended = self.process.exit()
        persist(lambda: Attempt.objects.filter(pk=self.attempt.pk).update(exit=ended))
        for damage in self.log.damage:
            logger.warning("run %s attempt %d: %s", self.run.public_id, self.attempt.number, damage)
        if ended is None and self._vanished_before() < MOST_RESTARTS:
            persist(lambda: lifecycle.requeue(self.run.pk, self.attempt.number, VANISHED))
            return
        self._finish(explain(ended, self.end, self.process.output(), self.stop_sent or self.kill_sent))

    def _vanished_before(self) -> int:
        """Attempts in a row before this one of which nobody knows how they ended."""
        earlier = Attempt.objects.filter(run=self.run, number__lt=self.attempt.number).order_by("-number").values_list("exit", flat=True)
        return len(list(itertools.takewhile(lambda ended: ended is None, persist(lambda: list(earlier)))))

    def _finish(self, ending: Ending) -> None:
        persist(lambda: lifecycle.finish(self.run.pk, self.attempt.number, ending.state, ending.reason, ending.remedy))
