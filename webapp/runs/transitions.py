"""Changes of a run's state, one conditional UPDATE each.

    queued → starting → running → stopping → paused | stopped | completed | failed → (resume) queued

The UPDATE must change exactly one row, so that of two callers at the same time one wins and the
other learns that it lost. Every change counts a batch, writes a `Transition` and notifies readers
in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import transaction
from django.db.models import F

from webapp.access.models import User
from webapp.base import celery_client, notify
from webapp.runs.models import ACTIVE, Run, State, Transition

NO_LEASE: dict[str, Any] = {"lease_holder": "", "heartbeat_at": None, "resume_after_restart": False}
NO_STOP_REQUEST: dict[str, Any] = {
    "stop_requested_at": None,
    "force_requested_at": None,
    "after_stop": State.STOPPED,
}


class TransitionRefused(Exception):
    """The state of a run or job does not allow the change; the message names it and a remedy."""


def change_state(
    run: Run, allowed: Iterable[str], cause: str, actor: User | None, **values: Any
) -> bool:
    """Set `values` if the run is in one of the `allowed` states; return whether it was.

    The run must not be deleted, and still be at the attempt that `run` shows. `run` is reloaded in
    both cases. `cause` is the reason of the transition; `reason` in `values` is the run's own
    field.
    """
    with transaction.atomic():
        # The condition is part of the UPDATE: a check before it could be out of date when it
        # writes.
        updated = Run.objects.filter(
            pk=run.pk, attempt=run.attempt, state__in=list(allowed), deleted_at=None
        ).update(**values)
        run.refresh_from_db()
        if updated:
            announce(run, cause, actor)
    return updated == 1


def announce(run: Run, reason: str, actor: User | None) -> None:
    """Record the state and notify readers. Call it in the transaction that changed the state."""
    # A change of state counts as a batch, so that it moves the cursor of live pages too.
    Run.objects.filter(pk=run.pk).update(batch_count=F("batch_count") + 1)
    run.refresh_from_db()
    record(run, reason, actor)
    notify.publish_on_commit(run.public_id, run.batch_count)


def record(run: Run, reason: str, actor: User | None) -> None:
    """Write the run's present state as a `Transition`."""
    Transition.objects.create(
        run=run, attempt=run.attempt, state=run.state, reason=reason, actor=actor
    )


def queue_again(run: Run, reason: str, **values: Any) -> bool:
    """Put an active run back into the queue without its lease; False if it is not active."""
    with transaction.atomic():
        updated = change_state(
            run, ACTIVE, reason, None, state=State.QUEUED, **NO_LEASE, **NO_STOP_REQUEST, **values
        )
        if updated:
            wake_on_commit()
        return updated


def wake_on_commit() -> None:
    """Ask a worker to look at the queue once the surrounding transaction is committed.

    A worker that is woken earlier would not see the change yet.
    """
    transaction.on_commit(celery_client.wake_placement)
