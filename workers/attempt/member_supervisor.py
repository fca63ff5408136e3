"""The supervisor of a machine that another one leads: it starts the machine's own ranks, or adopts
them, and ends with the attempt.

The leading machine keeps the log; here are a trainer, a lease and the devices. Whoever looks after
the run elsewhere learns of this part from its row alone, and this supervisor learns from the run's
row when the attempt is over.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from trainer.exit_codes import REFUSED
from webapp.nodes.holders import holder_of
from webapp.runs.models import ACTIVE, Attempt, Member, Run
from workers.attempt.exit_text import told
from workers.attempt.preparation import Unresolved, exported, prepare
from workers.attempt.trainer_process import TrainerProcess
from workers.machine import allocation, host
from workers.retry import persist

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.2
LOOK_SECONDS = 1.0


class Over(Exception):
    """The attempt has ended, or a newer one was placed, or this machine was given up for lost: its
    trainer must end.
    """


@dataclass
class MemberSupervisor:
    """Carries this machine's part of an attempt from its start, or from where another supervisor
    left it, to its end.
    """

    run: Run
    attempt: Attempt
    member: Member
    process: TrainerProcess
    looked_at: float = 0.0
    beat_at: float = 0.0

    def carry_out(self) -> None:
        try:
            if not self.process.started() and not self._start():
                return
            while not self.process.ended():
                self._look()
                time.sleep(POLL_SECONDS)
        except Over:
            self._let_go()
        self.process.kill()
        self._conclude()

    def _start(self) -> bool:
        """Start the trainer once the leading machine has settled where all meet; False if it cannot
        be started here.
        """
        while self.attempt.meeting is None:
            self._look()
            time.sleep(POLL_SECONDS)
            self.attempt.meeting = persist(
                lambda: (
                    Attempt.objects.filter(pk=self.attempt.pk)
                    .values_list("meeting", flat=True)
                    .first()
                )
            )
        try:
            arguments = persist(lambda: prepare(self.run, self.attempt, self.member.number))
        except Unresolved as error:
            self._end({"code": REFUSED, "signal": None}, f"{error} {error.remedy}")
            return False
        self.process.start(arguments, exported(self.run, self.attempt))
        return True

    def _look(self) -> None:
        """Show that this machine lives, and see whether the attempt does. Raises Over."""
        now = time.monotonic()
        if now - self.looked_at < LOOK_SECONDS:
            return
        self.looked_at = now
        if not persist(
            lambda: Run.objects.filter(
                pk=self.run.pk, attempt=self.attempt.number, state__in=ACTIVE
            ).exists()
        ):
            raise Over
        if now - self.beat_at >= host.HEARTBEAT_SECONDS:
            self.beat_at = now
            if not persist(lambda: self._mine().update(heartbeat_at=Now())):
                raise Over

    def _let_go(self) -> None:
        """A trainer that ends by itself, as after the last step, is given the time for that."""
        deadline = time.monotonic() + host.HEARTBEAT_SECONDS
        while not self.process.ended():
            if time.monotonic() >= deadline:
                self.process.kill()
            time.sleep(POLL_SECONDS)

    def _conclude(self) -> None:
        ended = self.process.exit()
        self._end(ended, told(ended, self.process.output()))

    def _end(self, ended: dict[str, object] | None, reason: str) -> None:
        """Record how it ended and give this machine's devices back, both or neither."""
        holder = holder_of(self.run.public_id, self.attempt.number)

        def end() -> None:
            with transaction.atomic():
                self._mine().update(exit=ended, reason=reason, finished_at=Now())
                allocation.release(holder, host.name())

        persist(end)
        logger.info(
            "run %s attempt %d: this machine's part has ended: %s",
            self.run.public_id,
            self.attempt.number,
            reason,
        )

    def _mine(self) -> QuerySet[Member]:
        return Member.objects.filter(pk=self.member.pk, finished_at=None)
