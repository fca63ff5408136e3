"""The other machines of an attempt, as the supervisor on its leading one sees them: who has broken
off, who is lost, and who is to blame.

All machines of an attempt end together. Most trainers only notice that another one is gone; the one
that went has the reason.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db.models.functions import Now

from trainer.exit_codes import COMPLETED, FAILED, PEER_LOST, PROCESS_DIED, STOPPED
from webapp.base.outages import OUTAGES
from webapp.nodes import queue
from webapp.runs import lifecycle
from webapp.runs.models import Attempt, Member, State
from workers.attempt.exit_text import Ending
from workers.attempt.outage_guard import Patience
from workers.machine import host

AGAIN = (PEER_LOST, PROCESS_DIED)
LOST_TOUCH = "The machines of the run lost touch with each other."


class Party:
    """Of an attempt on one machine there are no others, and nothing is asked."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt, self._patience = attempt, Patience()
        self._broken_at = float("inf")
        self.others: Sequence[Member] = list(attempt.members.order_by("number"))

    def look(self) -> None:
        """See how the others are. One that is silent for a lease period, machine and all, is lost
        from then on.
        """
        if not self.others:
            return
        try:
            self._patience.look()
            if self._patience.over(host.LEASE_SECONDS):
                self._lose()
            self.others = list(self._attempt.members.order_by("number"))
        except OUTAGES:
            self._patience.lose()
            raise
        if any(
            one.finished_at and _code(one.exit) not in (COMPLETED, STOPPED) for one in self.others
        ):
            self._broken_at = min(self._broken_at, time.monotonic())

    def is_beyond_waiting(self) -> bool:
        """Whether a machine has left so long ago that the leading trainer should have noticed: it
        would wait for ever.
        """
        return time.monotonic() > self._broken_at + host.LEASE_SECONDS

    def has_told(self) -> bool:
        """Whether nothing more is to be heard of why the attempt ended: a machine is known to be
        gone, or all have spoken.
        """
        culprit = self._culprit()
        return (culprit is not None and _may_go_on(culprit.exit)) or all(
            one.finished_at for one in self.others
        )

    def is_puzzled_by(self, exit: dict[str, Any] | None, asked: bool) -> bool:
        """Whether the end of the leading trainer may have its cause on another machine: `asked` for
        by somebody, it has not.
        """
        if not self.others or asked or exit is None:
            return False
        return exit["signal"] is not None or exit["code"] in (PEER_LOST, STOPPED, FAILED)

    def judged(self, exit: dict[str, Any] | None, ending: Ending, asked: bool) -> Ending:
        """How the attempt ended, where `ending` is what the leading trainer's own end says: in
        another attempt if a machine was lost.
        """
        if ending.state == State.COMPLETED:
            return ending
        culprit = self._culprit() if self.is_puzzled_by(exit, asked) else None
        if culprit is not None and _may_go_on(culprit.exit):
            return Ending(State.QUEUED, f"{culprit.host}: {culprit.reason}")
        if culprit is not None and _code(exit) != FAILED:
            return Ending(State.FAILED, f"{culprit.host}: {culprit.reason}")
        if (
            self.others
            and exit is not None
            and (exit["code"] in AGAIN or (not asked and _may_go_on(exit)))
        ):
            said = (
                LOST_TOUCH if self.is_beyond_waiting() else f"{self._attempt.host}: {ending.reason}"
            )
            return Ending(State.QUEUED, said)
        return ending

    def _culprit(self) -> Member | None:
        """Who has ended for a reason of its own; who is gone rather than who met an error, which
        may only be that another one is gone.
        """
        left = [
            one
            for one in self.others
            if one.finished_at and _code(one.exit) not in (COMPLETED, STOPPED, PEER_LOST)
        ]
        return min(left, key=lambda one: not _may_go_on(one.exit), default=None)

    def _lose(self) -> None:
        alive = queue.alive().values_list("name", flat=True)
        lease = timedelta(seconds=host.LEASE_SECONDS)
        for one in lifecycle.silent(self._attempt.members.all(), lease).exclude(host__in=alive):
            reason = f"It was lost: it has not been heard of since {one.heartbeat_at:%H:%M:%S} UTC."
            Member.objects.filter(pk=one.pk, finished_at=None).update(
                finished_at=Now(), reason=reason
            )


def _code(exit: dict[str, Any] | None) -> int | None:
    return exit["code"] if exit else None


def _may_go_on(exit: dict[str, Any] | None) -> bool:
    """Whether another attempt may do better: a process or a machine is gone, and not because memory
    ran out.
    """
    if exit is None:
        return True
    return exit["code"] in AGAIN or (exit["signal"] is not None and not exit["out_of_memory"])
