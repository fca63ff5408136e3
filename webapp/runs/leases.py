"""The lease of a machine on a run: claim, renew, finish, requeue, expire.

A worker that claims a queued run holds a lease as long as it renews its heartbeat. `attempt` is
the fencing number: a worker changes the run only under its own number, and a higher number in
Postgres shuts it out. The number grows when a run is claimed and at no other time, so that a
machine that was declared lost and returns in time continues the same attempt.
"""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce, Now

from webapp.runs.models import ACTIVE, Attempt, Member, Run, State
from webapp.runs.transitions import announce, change_state, queue_again


def claim(run_id: int, holder: str, *followers: str) -> Attempt | None:
    """Give a queued run to the machine `holder`, which leads the machines `followers`.

    Exactly one of several concurrent claimers succeeds; None if the run is not waiting any more.
    """
    with transaction.atomic():
        claimed = Run.objects.filter(pk=run_id, state=State.QUEUED, on_hold=False).update(
            state=State.STARTING,
            attempt=F("attempt") + 1,
            lease_holder=holder,
            heartbeat_at=Now(),
            queue_position=None,
        )
        if not claimed:
            return None
        run = Run.objects.get(pk=run_id)
        # The start stays that of the first attempt: the duration of a run includes its pauses. The
        # phase of the attempt before would be shown until the trainer reports.
        Run.objects.filter(pk=run_id).update(
            started_at=Coalesce("started_at", Now()),
            summary={**run.summary, "phase": "loading", "done": None, "of": None},
        )
        attempt = Attempt.objects.create(run=run, number=run.attempt, host=holder[:200])
        for number, name in enumerate(followers, 1):
            Member.objects.create(
                attempt=attempt, number=number, host=name[:200], heartbeat_at=Now()
            )
        announce(run, f"Placed on {attempt.machines}.", None)
    return attempt


def renew(run_id: int, attempt: int, holder: str) -> bool:
    """Renew the lease of attempt `attempt`; False if a higher attempt exists or the run has ended.

    A run that was queued again because `holder` was declared lost goes back to `holder`, unless the
    attempt has ended or led other machines: those have left already.
    """
    # The usual case: one UPDATE and no other query, every few seconds for each run.
    own_run = Run.objects.filter(pk=run_id, attempt=attempt)
    if own_run.filter(state__in=ACTIVE).update(heartbeat_at=Now(), lease_holder=holder):
        return True
    unfinished = Attempt.objects.filter(run=run_id, number=attempt, finished_at=None, members=None)
    run = own_run.filter(Exists(unfinished), state=State.QUEUED).first()
    return run is not None and change_state(
        run,
        [State.QUEUED],
        f"{holder} is back before the run was placed elsewhere.",
        None,
        state=State.RUNNING,
        lease_holder=holder,
        heartbeat_at=Now(),
        # The restart that `requeue` counted did not happen.
        restarts=F("restarts") - 1,
    )


def finish(run_id: int, attempt: int, state: str, reason: str = "", remedy: str = "") -> bool:
    """End attempt `attempt` in `state`; False if it has ended or is not the run's attempt any more.

    The end time of the attempt is stored in both cases. A run that stopped because somebody asked
    for a pause is paused; one that is to be rescheduled is queued again.
    """
    with transaction.atomic():
        Attempt.objects.filter(run=run_id, number=attempt, finished_at=None).update(
            finished_at=Now()
        )
        # Locked, so that a pause or stop that is requested now is either seen here or comes too
        # late.
        run = Run.objects.select_for_update().filter(pk=run_id, attempt=attempt).first()
        if run is None:
            return False
        # A trainer that was asked to stop reports `stopped`, whatever it was asked for; what the
        # request was for is in the run.
        outcome = State(run.after_stop) if state == State.STOPPED else State(state)
        if outcome == State.QUEUED:
            return queue_again(run, f"{reason} It left {run.lease_holder} to continue elsewhere.")
        return change_state(
            run,
            ACTIVE,
            reason,
            None,
            state=outcome,
            finished_at=Now(),
            reason=reason,
            remedy=remedy,
            heartbeat_at=None,
        )


def requeue(run_id: int, attempt: int, reason: str) -> bool:
    """Queue a run again whose attempt died; False if another process was faster.

    A run whose stop was requested is stopped instead, and one that has used up its restarts fails.
    """
    run = Run.objects.filter(pk=run_id, attempt=attempt).first()
    if run is None:
        return False
    if run.stop_requested_at is not None:
        return finish(run_id, attempt, State.STOPPED, reason)
    limit = settings.STILLROOM_MAX_RESTARTS if run.max_restarts is None else run.max_restarts
    if run.restarts >= limit:
        times = f"{run.restarts} time{'s' * (run.restarts != 1)}"
        return finish(
            run_id,
            attempt,
            State.FAILED,
            f"{reason} It was restarted automatically {times}, and no more restarts are allowed.",
            "Find the cause, then resume the run from its last checkpoint.",
        )
    return queue_again(run, reason, restarts=F("restarts") + 1)


def expire(run_id: int, attempt: int, lease: timedelta, reason: str) -> bool:
    """Queue a run again whose machine is lost; False if its lease was renewed within `lease`."""
    with transaction.atomic():
        # Read again under a lock: the machine may have renewed since the caller looked.
        run = expired_runs(lease).select_for_update().filter(pk=run_id, attempt=attempt).first()
        return run is not None and requeue(run_id, attempt, reason)


def expired_runs(lease: timedelta) -> QuerySet[Run]:
    """Return active runs without a heartbeat for `lease`.

    Ages are measured by the clock of the database: the clocks of machines differ.
    """
    return Run.objects.filter(state__in=ACTIVE, heartbeat_at__lt=Now() - lease)


def expired_members(members: QuerySet[Member], lease: timedelta) -> QuerySet[Member]:
    """Return those of `members` that have not ended and sent no heartbeat for `lease`."""
    return members.filter(finished_at=None, heartbeat_at__lt=Now() - lease)


def runs_on_machine(name: str) -> QuerySet[Run]:
    """Return runs whose present attempt uses the machine `name`, alone or with others."""
    membership = Member.objects.filter(
        attempt__run=OuterRef("pk"), attempt__number=OuterRef("attempt"), host=name
    )
    return Run.objects.filter(Q(lease_holder=name) | Exists(membership))


def members_on_machine(name: str) -> QuerySet[Member]:
    """Return what the machine `name` does for present attempts that another machine leads."""
    return Member.objects.filter(
        host=name,
        finished_at=None,
        attempt__number=F("attempt__run__attempt"),
        attempt__run__state__in=ACTIVE,
    ).order_by("pk")
