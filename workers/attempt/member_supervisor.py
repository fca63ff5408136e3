"""The supervisor of a member of an attempt: a machine that another one leads.

It starts the machine's own ranks, or adopts them, and ends with the attempt. The leading machine
writes the log; here are only a trainer, a lease and the devices. The other machines learn about
this one from its Member row, and this supervisor learns from the run's row that the attempt ended.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from trainer.exit_codes import ExitCode
from webapp.nodes.allocation_keys import attempt_key
from webapp.runs.models import ACTIVE, Attempt, Member, Run
from workers.attempt.exit_text import member_reason
from workers.attempt.preparation import PreparationError, prepare, trainer_environment
from workers.attempt.trainer_process import TrainerProcess
from workers.database import retry_on_outage
from workers.machine import allocation, host

logger = logging.getLogger(__name__)
# Between looks at the trainer, which cost one file access.
POLL_SECONDS = 0.2
# Between queries of the run's row.
CHECK_SECONDS = 1.0


class AttemptOver(Exception):
    """The trainer of this machine must end.

    The attempt has ended, a newer one was placed, or this machine was declared lost.
    """


@dataclass
class MemberSupervisor:
    """Executes this machine's part of an attempt to its end; safe to continue from any point."""

    run: Run
    attempt: Attempt
    member: Member
    process: TrainerProcess
    checked_at: float = 0.0
    heartbeat_at: float = 0.0

    def execute(self) -> None:
        try:
            if not self.process.started() and not self._start():
                return
            while not self.process.ended():
                self._check()
                time.sleep(POLL_SECONDS)
        except AttemptOver:
            # A trainer that exits by itself, as after the last step, gets the time for that.
            deadline = time.monotonic() + host.HEARTBEAT_SECONDS
            while not self.process.ended():
                if time.monotonic() >= deadline:
                    self.process.kill()
                time.sleep(POLL_SECONDS)
        # Also after its exit: processes that it has started may still use the devices.
        self.process.kill()
        exit = self.process.exit()
        self._end(exit, member_reason(exit, self.process.output()))

    def _start(self) -> bool:
        """Start the trainer; return False if it cannot start here, which ends this member.

        Waits first until the leading machine has chosen address and checkpoint.
        """
        while self.attempt.meeting is None:
            self._check()
            time.sleep(POLL_SECONDS)
            meetings = Attempt.objects.filter(pk=self.attempt.pk).values_list("meeting", flat=True)
            self.attempt.meeting = retry_on_outage(meetings.first)
        try:
            arguments = retry_on_outage(lambda: prepare(self.run, self.attempt, self.member.number))
        except PreparationError as error:
            self._end({"code": ExitCode.REFUSED, "signal": None}, f"{error} {error.remedy}")
            return False
        self.process.start(arguments, trainer_environment(self.run, self.attempt))
        return True

    def _check(self) -> None:
        """Renew this member's lease. Raises AttemptOver if the attempt is not active any more."""
        now = time.monotonic()
        if now - self.checked_at < CHECK_SECONDS:
            return
        self.checked_at = now
        active = Run.objects.filter(pk=self.run.pk, attempt=self.attempt.number, state__in=ACTIVE)
        if not retry_on_outage(active.exists):
            raise AttemptOver
        if now - self.heartbeat_at >= host.HEARTBEAT_SECONDS:
            self.heartbeat_at = now
            if not retry_on_outage(lambda: self._row().update(heartbeat_at=Now())):
                raise AttemptOver

    def _end(self, exit: dict[str, object] | None, reason: str) -> None:
        """Record the exit and release this machine's devices, in one transaction."""
        key = attempt_key(self.run.public_id, self.attempt.number)

        def end() -> None:
            with transaction.atomic():
                self._row().update(exit=exit, reason=reason, finished_at=Now())
                allocation.release(key, host.name())

        retry_on_outage(end)
        logger.info(
            "run %s attempt %d: the trainer on this machine has ended: %s",
            self.run.public_id,
            self.attempt.number,
            reason,
        )

    def _row(self) -> QuerySet[Member]:
        """Return this member's row, unless it has ended or was declared lost."""
        return Member.objects.filter(pk=self.member.pk, finished_at=None)
