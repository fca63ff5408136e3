"""The supervisor of a member of an attempt: a machine that another one leads.

It starts the machine's own ranks, or adopts them, and ends with the attempt. The leading machine
writes the log; here are only a trainer, a lease and the devices. The other machines learn about
this one from its Member row, and this supervisor learns from the run's row that the attempt ended.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field

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
from workers.lease import Lease, LeaseLost
from workers.machine import allocation, host

logger = logging.getLogger(__name__)
# Between looks at the trainer, which cost one file access.
POLL_SECONDS = 0.2


@dataclass
class MemberSupervisor:
    """Executes this machine's part of an attempt to its end; safe to continue from any point."""

    run: Run
    attempt: Attempt
    member: Member
    process: TrainerProcess
    lease: Lease = field(init=False)

    def __post_init__(self) -> None:
        self.lease = Lease(lambda: self._row().update(heartbeat_at=Now()))

    def execute(self) -> None:
        try:
            if not self.process.started() and not self._start():
                return
            while not self.process.ended():
                self._check()
                time.sleep(POLL_SECONDS)
        except LeaseLost:
            # A trainer that exits by itself, as after the last step, gets the time for that.
            deadline = time.monotonic() + host.HEARTBEAT_SECONDS
            while not self.process.ended():
                if time.monotonic() >= deadline:
                    self.process.kill()
                time.sleep(POLL_SECONDS)
        # Also after its exit: processes that it has started may still use the devices.
        self.process.kill()
        self.process.remove_leftovers()
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
        """Renew this member's lease.

        Raises LeaseLost if the attempt has ended, a newer one was placed, or this machine was
        declared lost.
        """
        active = Run.objects.filter(pk=self.run.pk, attempt=self.attempt.number, state__in=ACTIVE)
        self.lease.check(active.exists)

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
