"""What may become of a run, and who may change it.

    queued → starting → running → stopping → paused | stopped | completed | failed → (resume) queued

Every change is one conditional UPDATE that must hit exactly one row, so that of two who try at once
one wins and the other hears of it. `attempt` is the fencing number: what a worker changes, it
changes under its own number, and a higher one in Postgres shuts it out. It grows when a run is
claimed and at no other time, so a machine that was given up for lost and returns in time has lost
nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from webapp.access.models import Team, User
from webapp.base import celery_client, notify
from webapp.runs import naming
from webapp.runs.models import (
    ACTIVE,
    FINISHED,
    Attempt,
    Checkpoint,
    Event,
    Member,
    Run,
    State,
    Transition,
)

RELEASED: dict[str, Any] = {"lease_holder": "", "heartbeat_at": None, "resume_after_restart": False}
UNASKED: dict[str, Any] = {
    "stop_requested_at": None,
    "force_requested_at": None,
    "after_stop": State.STOPPED,
}


class Refused(Exception):
    """The run is in no state for that; the message says which it is in and what to do."""


def create_run(
    team: Team,
    owner: User | None,
    spec: dict[str, Any] | None,
    *,
    name: str = "",
    recipe: str = "",
    parent: Run | None = None,
    source: str = Run.Source.MANAGED,
    state: str = State.QUEUED,
    tags: Sequence[str] = (),
    memory_bytes: int | None = None,
) -> Run:
    """A new run of `team`; a managed one is queued and a worker woken. `spec` is a validated
    definition as plain JSON.

    `memory_bytes` is what each of its processes needs at least, if that is known: it is placed
    where there is as much.
    """
    definition = spec or {}
    facts = {
        "summary": naming.summary_of(definition),
        "total_steps": naming.total_steps(definition),
    }
    with transaction.atomic():
        named = {
            "name": name or definition.get("name", "untitled"),
            "recipe": recipe or definition.get("recipe", ""),
        }
        run = Run.objects.create(
            team=team,
            owner=owner,
            spec=spec,
            parent=parent,
            source=source,
            state=state,
            tags=list(tags),
            memory_bytes=memory_bytes,
            max_restarts=(definition.get("compute") or {}).get("max_restarts"),
            **named,
            **facts,
        )
        _record(run, "", owner)
        if state == State.QUEUED:
            wake()
    return run


def request_stop(
    run: Run, actor: User | None = None, force: bool = False, resume_after_restart: bool = False
) -> Run:
    """Ask for a checkpoint and an end; with `force`, for an end at once. What is not at work stops
    on the spot. Raises Refused.
    """
    now = timezone.now()
    wish: dict[str, Any] = {"stop_requested_at": now}
    if (
        not resume_after_restart or run.state != State.STOPPING
    ):  # what a person asked for is not undone by a restart
        wish |= {"after_stop": State.STOPPED, "resume_after_restart": resume_after_restart}
    if _change(
        run,
        [State.QUEUED, State.PAUSED],
        "Cancelled.",
        actor,
        state=State.STOPPED,
        finished_at=now,
        **wish,
    ):
        return run
    if force:
        wish["force_requested_at"] = now
        changed = _change(
            run, ACTIVE, "Stop at once was asked for.", actor, state=State.STOPPING, **wish
        )
    else:
        changed = _change(
            run,
            [State.STARTING, State.RUNNING],
            "A stop was asked for.",
            actor,
            state=State.STOPPING,
            **wish,
        )
    if not changed and run.state != State.STOPPING:
        raise Refused(f"This run is {run.state} already, so there is nothing to stop.")
    return run


def pause(run: Run, actor: User | None = None) -> Run:
    """Ask for a checkpoint and the devices, until somebody resumes the run. A queued one is paused
    on the spot. Raises Refused.
    """
    now = timezone.now()
    wish = {"stop_requested_at": now, "after_stop": State.PAUSED}
    if _change(
        run,
        [State.QUEUED],
        "Paused in the queue.",
        actor,
        state=State.PAUSED,
        finished_at=now,
        **wish,
    ):
        return run
    if not _change(
        run,
        [State.STARTING, State.RUNNING],
        "A pause was asked for.",
        actor,
        state=State.STOPPING,
        **wish,
    ):
        raise Refused(f"This run is {run.state}, so it cannot be paused.")
    return run


def move(run: Run, reason: str, actor: User | None = None) -> bool:
    """Ask for a checkpoint and the devices; the run then goes on wherever there is room. False if
    it is not at work.
    """
    wish = {"stop_requested_at": timezone.now(), "after_stop": State.QUEUED}
    return _change(
        run, [State.STARTING, State.RUNNING], reason, actor, state=State.STOPPING, **wish
    )


def resume(run: Run, actor: User | None = None, cause: str = "Resumed.") -> Run:
    """Queue a run that ended early again; it goes on from its last stored checkpoint. Raises
    Refused.
    """
    if run.source != Run.Source.MANAGED:
        raise Refused("This run was recorded elsewhere, so it cannot be resumed here.")
    cleared = {"finished_at": None, "reason": "", "remedy": ""}
    fresh = {"queued_at": timezone.now(), "queue_position": None, "on_hold": False, "restarts": 0}
    early = [State.PAUSED, State.STOPPED, State.FAILED]
    with transaction.atomic():
        if not _change(
            run, early, cause, actor, state=State.QUEUED, **RELEASED, **UNASKED, **cleared, **fresh
        ):
            raise Refused(
                f"This run is {run.state}; only one that is paused, stopped or failed can be resumed."
            )
        wake()
    return run


def clone(run: Run, team: Team, owner: User | None) -> Run:
    """A new run with the same definition. Raises Refused if there is none."""
    if run.spec is None:
        raise Refused(
            "This run was recorded elsewhere without its definition, so it cannot be cloned."
        )
    return create_run(
        team,
        owner,
        run.spec,
        name=run.name,
        recipe=run.recipe,
        parent=run,
        memory_bytes=run.memory_bytes,
    )


def claim(run_id: int, holder: str, *others: str) -> Attempt | None:
    """Take a queued run for `holder`, a machine, which leads the `others`; None if it does not wait
    any more.

    Of any number of claimers one gets it.
    """
    now = timezone.now()
    fresh = {
        "state": State.STARTING,
        "attempt": F("attempt") + 1,
        "lease_holder": holder,
        "heartbeat_at": Now(),
        "queue_position": None,
    }
    with transaction.atomic():
        if not Run.objects.filter(pk=run_id, state=State.QUEUED, on_hold=False).update(**fresh):
            return None
        run = Run.objects.get(pk=run_id)
        Run.objects.filter(pk=run_id, started_at=None).update(started_at=now)
        Run.objects.filter(pk=run_id).update(
            summary={**run.summary, "phase": "loading", "done": None, "of": None}
        )
        attempt = Attempt.objects.create(run=run, number=run.attempt, host=holder[:200])
        for number, name in enumerate(others, 1):
            Member.objects.create(
                attempt=attempt, number=number, host=name[:200], heartbeat_at=Now()
            )
        _announce(run, f"Placed on {attempt.machines}.", None)
    return attempt


def heartbeat(run_id: int, attempt: int, holder: str) -> bool:
    """Show that attempt `attempt` lives; False if Postgres shows a higher attempt or the run has
    ended.

    A run that waits again, because `holder` had been given up for lost, is taken back; not if the
    attempt has ended, or led other machines: they have left.
    """
    mine = Run.objects.filter(pk=run_id, attempt=attempt)
    if mine.filter(state__in=ACTIVE).update(heartbeat_at=Now(), lease_holder=holder):
        return True
    unfinished = Attempt.objects.filter(run=run_id, number=attempt, finished_at=None, members=None)
    run = mine.filter(Exists(unfinished), state=State.QUEUED).first()
    back = {
        "state": State.RUNNING,
        "lease_holder": holder,
        "heartbeat_at": Now(),
        "restarts": F("restarts") - 1,
    }
    return run is not None and _change(
        run, [State.QUEUED], f"{holder} is back before the run went on elsewhere.", None, **back
    )


def finish(run_id: int, attempt: int, state: str, reason: str = "", remedy: str = "") -> bool:
    """End attempt `attempt` in `state`; False if it is not the run's attempt any more or has ended.
    When it ended is kept either way.

    A run that stopped because somebody wanted it to pause, or to move, does that.
    """
    now = timezone.now()
    with transaction.atomic():
        Attempt.objects.filter(run=run_id, number=attempt, finished_at=None).update(finished_at=now)
        run = Run.objects.select_for_update().filter(pk=run_id, attempt=attempt).first()
        if run is None:
            return False
        outcome = State(run.after_stop) if state == State.STOPPED else State(state)
        if outcome == State.QUEUED:
            return _queue_again(run, f"{reason} It left {run.lease_holder} to go on elsewhere.")
        ending = {
            "state": outcome,
            "finished_at": now,
            "reason": reason,
            "remedy": remedy,
            "heartbeat_at": None,
        }
        return _change(run, ACTIVE, reason, None, **ending)


def requeue(run_id: int, attempt: int, reason: str) -> bool:
    """Queue an orphaned run again, as often as it may be restarted; False if somebody was quicker.
    A stop that was asked for ends it.
    """
    run = Run.objects.filter(pk=run_id, attempt=attempt).first()
    if run is None:
        return False
    if run.stop_requested_at is not None:
        return finish(run_id, attempt, State.STOPPED, reason)
    limit = settings.STILLROOM_MAX_RESTARTS if run.max_restarts is None else run.max_restarts
    if run.restarts >= limit:
        said = f"It has been restarted {run.restarts} time{'s' * (run.restarts != 1)} by itself, and no more is allowed."
        return finish(
            run_id,
            attempt,
            State.FAILED,
            f"{reason} {said}",
            "Find the cause, then resume to go on from the last checkpoint.",
        )
    return _queue_again(run, reason, restarts=F("restarts") + 1)


def abandon(run_id: int, attempt: int, lease: timedelta, reason: str) -> bool:
    """Queue a run again whose machine is lost, if it has not been heard of for `lease` still; False
    otherwise.
    """
    with transaction.atomic():
        silent = orphans(lease).select_for_update().filter(pk=run_id, attempt=attempt).first()
        return silent is not None and requeue(run_id, attempt, reason)


def change_in_queue(run: Run, cause: str, actor: User | None, **values: Any) -> None:
    """Change something of a waiting run that does not change its state. Raises Refused."""
    with transaction.atomic():
        if not _change(run, [State.QUEUED], cause, actor, **values):
            raise Refused(f"This run is {run.state}; it does not wait any more.")
        wake()


def on_machine(name: str) -> QuerySet[Run]:
    """Runs whose present attempt that machine carries out, or did, alone or with others."""
    part = Member.objects.filter(
        attempt__run=OuterRef("pk"), attempt__number=OuterRef("attempt"), host=name
    )
    return Run.objects.filter(Q(lease_holder=name) | Exists(part))


def members_at_work(name: str) -> QuerySet[Member]:
    """What that machine does for attempts that another one leads, as far as they still are their
    run's.
    """
    current = {"attempt__number": F("attempt__run__attempt"), "attempt__run__state__in": ACTIVE}
    return Member.objects.filter(host=name, finished_at=None, **current).order_by("pk")


def orphans(lease: timedelta) -> QuerySet[Run]:
    """Active runs whose worker has not been heard of for `lease`, by the clock of the database."""
    return Run.objects.filter(state__in=ACTIVE, heartbeat_at__lt=Now() - lease)


def silent(members: QuerySet[Member], lease: timedelta) -> QuerySet[Member]:
    """Those at work that have not been heard of for `lease`."""
    return members.filter(finished_at=None, heartbeat_at__lt=Now() - lease)


def report(run: Run, state: str, cause: str) -> None:
    """Note the state that a client reports of a run that it logs: nobody here works on it, so every
    change is possible.
    """
    ended = timezone.now() if state in FINISHED else None
    with transaction.atomic():
        locked = Run.objects.select_for_update().get(pk=run.pk)
        _change(
            locked,
            [one for one in State.values if one != state],
            cause,
            None,
            state=state,
            finished_at=ended,
        )


def delete(run: Run) -> None:
    """Remove a run that is over and all that is recorded of it. Raises Refused while it may still
    be worked on.
    """
    with transaction.atomic():
        locked = Run.objects.select_for_update().filter(pk=run.pk).first()
        if (
            locked is not None
            and locked.source == Run.Source.MANAGED
            and locked.state not in FINISHED
        ):
            raise Refused("Stop this run before you delete it.")
        if locked is not None:
            locked.delete()


def _change(
    run: Run, allowed: Iterable[str], cause: str, actor: User | None, **values: Any
) -> bool:
    """Apply `values` if the run, at the attempt that `run` shows, is in one of the `allowed`
    states. `run` is read anew either way.
    """
    with transaction.atomic():
        found = Run.objects.filter(pk=run.pk, attempt=run.attempt, state__in=list(allowed)).update(
            **values
        )
        run.refresh_from_db()
        if found:
            _announce(run, cause, actor)
    return found == 1


def _announce(run: Run, reason: str, actor: User | None) -> None:
    """Record the state and ring the doorbell; part of the transaction that changed it."""
    Run.objects.filter(pk=run.pk).update(batch_count=F("batch_count") + 1)
    run.refresh_from_db()
    _record(run, reason, actor)
    notify.ring_on_commit(run.public_id, run.batch_count)


def _record(run: Run, reason: str, actor: User | None) -> None:
    Transition.objects.create(
        run=run, attempt=run.attempt, state=run.state, reason=reason, actor=actor
    )


def wake() -> None:
    """Have a worker look at the queue once the surrounding transaction is committed."""
    transaction.on_commit(celery_client.wake)


def _queue_again(run: Run, cause: str, **values: Any) -> bool:
    with transaction.atomic():
        changed = _change(
            run, ACTIVE, cause, None, state=State.QUEUED, **RELEASED, **UNASKED, **values
        )
        if changed:
            wake()
        return changed


def named_artifacts(team_id: int) -> set[str]:
    """The hashes of all files that events and checkpoints of the team's runs name."""
    events = Event.objects.filter(run__team=team_id, payload__has_key="file")
    named = set(events.values_list("payload__file__sha256", flat=True))
    for manifest in Checkpoint.objects.filter(run__team=team_id).values_list("manifest", flat=True):
        named |= {file["sha256"] for file in manifest.values()}
    return named
