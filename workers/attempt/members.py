"""The other machines of an attempt, as the supervisor on the leading machine sees them.

It finds out which of them ended or was lost, and which one caused the end of the attempt. All
machines of an attempt end together. Most trainers only notice that another one is gone; the reason
is known on the machine that failed first.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from trainer.exit_codes import ExitCode
from webapp.base.outages import OUTAGES
from webapp.nodes import queue
from webapp.runs import leases
from webapp.runs.models import Attempt, Member, State
from workers.attempt.exit_text import AttemptOutcome
from workers.attempt.outage_guard import OutageGuard
from workers.machine import host

RETRYABLE_CODES = (ExitCode.PEER_LOST, ExitCode.PROCESS_DIED)
CONNECTION_LOST = "The machines of the run lost touch with each other."


class AttemptMembers:
    """`members` are the machines beside the leading one; empty for an attempt on one machine."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt, self._outage_guard = attempt, OutageGuard()
        # time.monotonic() at which a failed member was seen first.
        self._failed_at = float("inf")
        self.members: Sequence[Member] = list(attempt.members.order_by("number"))

    def refresh(self) -> None:
        """Read the members again; declare those lost that are silent for a lease period.

        The machine of a lost member must be silent too. Raises one of OUTAGES without Postgres.
        """
        if not self.members:
            return
        try:
            self._outage_guard.check()
            if self._outage_guard.is_calm_for(host.LEASE_SECONDS):
                self._declare_lost()
            self.members = list(self._attempt.members.order_by("number"))
        except OUTAGES:
            self._outage_guard.record_outage()
            raise
        if any(
            member.finished_at and _code(member.exit) not in (ExitCode.COMPLETED, ExitCode.STOPPED)
            for member in self.members
        ):
            self._failed_at = min(self._failed_at, time.monotonic())

    def leader_is_stuck(self) -> bool:
        """Return whether a member failed so long ago that the leading trainer must have noticed.

        If it still runs, it waits forever for the failed member.
        """
        return time.monotonic() > self._failed_at + host.LEASE_SECONDS

    def cause_is_known(self) -> bool:
        """Return whether waiting longer tells nothing more about why the attempt ended.

        That is so if a member is known to be gone, or if all have ended.
        """
        member = self._failed_member()
        return (member is not None and _is_retryable(member.exit)) or all(
            member.finished_at for member in self.members
        )

    def may_be_cause(self, exit: dict[str, Any] | None, stop_requested: bool) -> bool:
        """Return whether a member may be why the leading trainer ended with `exit`."""
        if not self.members or stop_requested or exit is None:
            return False
        return exit["signal"] is not None or exit["code"] in (
            ExitCode.PEER_LOST,
            ExitCode.STOPPED,
            ExitCode.FAILED,
        )

    def outcome(
        self, exit: dict[str, Any] | None, leader: AttemptOutcome, stop_requested: bool
    ) -> AttemptOutcome:
        """Return the outcome of the attempt, given the `exit` and outcome of the leading trainer.

        The run is queued again if a machine or a process was lost.
        """
        if leader.state == State.COMPLETED:
            return leader
        member = self._failed_member() if self.may_be_cause(exit, stop_requested) else None
        if member is not None and _is_retryable(member.exit):
            return AttemptOutcome(State.QUEUED, f"{member.host}: {member.reason}")
        # A leading trainer that failed has reported a reason of its own. With any other code it has
        # only noticed that this member is gone.
        if member is not None and _code(exit) != ExitCode.FAILED:
            return AttemptOutcome(State.FAILED, f"{member.host}: {member.reason}")
        if (
            self.members
            and exit is not None
            and (exit["code"] in RETRYABLE_CODES or (not stop_requested and _is_retryable(exit)))
        ):
            own_reason = f"{self._attempt.host}: {leader.reason}"
            reason = CONNECTION_LOST if self.leader_is_stuck() else own_reason
            return AttemptOutcome(State.QUEUED, reason)
        return leader

    def _failed_member(self) -> Member | None:
        """Return the member that failed for a reason of its own.

        One that is gone comes before one with an error: the error may only be that the other one is
        gone.
        """
        failed = [
            member
            for member in self.members
            if member.finished_at
            and _code(member.exit) not in (ExitCode.COMPLETED, ExitCode.STOPPED, ExitCode.PEER_LOST)
        ]
        return min(failed, key=lambda member: not _is_retryable(member.exit), default=None)

    def _declare_lost(self) -> None:
        alive = queue.live_nodes().values_list("name", flat=True)
        lease = timedelta(seconds=host.LEASE_SECONDS)
        silent = leases.expired_members(self._attempt.members.all(), lease).exclude(host__in=alive)
        for member in silent:
            reason = (
                f"It was lost: it has not been heard of since {member.heartbeat_at:%H:%M:%S} UTC."
            )
            # The condition is repeated: the member may have ended by itself since it was read.
            Member.objects.filter(pk=member.pk, finished_at=None).update(
                finished_at=Now(), reason=reason
            )


def _code(exit: dict[str, Any] | None) -> int | None:
    return exit["code"] if exit else None


def _is_retryable(exit: dict[str, Any] | None) -> bool:
    """Return whether another attempt may succeed: a process or a machine is gone.

    Not if the memory ran out, because that would happen again.
    """
    if exit is None:
        return True
    return exit["code"] in RETRYABLE_CODES or (
        exit["signal"] is not None and not exit["out_of_memory"]
    )
