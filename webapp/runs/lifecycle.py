"""What may become of a run, and who may change it.

    queued → starting → running → stopping → stopped | completed | failed → (resume) queued

Every change is one conditional UPDATE that must hit exactly one row, so that of two who try at once one wins and the other hears of it.
`attempt` is the fencing number: what a worker changes, it changes under its own number, and a higher one in Postgres shuts it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from webapp import celery_client
from webapp.live import doorbell
from webapp.runs import naming
from webapp.runs.models import ACTIVE, FINISHED, Attempt, Run, State, Transition
from webapp.teams.models import Team, User

RELEASED: dict[str, Any] = {"lease_holder": "", "heartbeat_at": None, "resume_after_restart": False}


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
) -> Run:
    """A new run of `team`; a managed one is queued and a worker woken. `spec` is a validated definition as plain JSON."""
    definition = spec or {}
    facts = {"summary": naming.summary_of(definition), "total_steps": naming.total_steps(definition)}
    with transaction.atomic():
        named = {"name": name or definition.get("name", "untitled"), "recipe": recipe or definition.get("recipe", "")}
        run = Run.objects.create(
            team=team, owner=owner, spec=spec, parent=parent, source=source, state=state, tags=list(tags), **named, **facts
        )
        _record(run, "", owner)
        if state == State.QUEUED:
            _wake(run)
    return run


def request_stop(run: Run, actor: User | None = None, force: bool = False, resume_after_restart: bool = False) -> Run:
    """Ask for a checkpoint and an end; with `force`, for an end at once. A queued run stops on the spot. Raises Refused."""
    now = timezone.now()
    mine = run.state != State.STOPPING or run.resume_after_restart  # a person's stop is not undone by a restart
    wish = {"stop_requested_at": now, "resume_after_restart": resume_after_restart and mine}
    if _change(run, [State.QUEUED], "Stopped before it began.", actor, state=State.STOPPED, finished_at=now, **wish):
        return run
    if force:
        wish["force_requested_at"] = now
        changed = _change(run, ACTIVE, "Stop at once was asked for.", actor, state=State.STOPPING, **wish)
    else:
        changed = _change(run, [State.STARTING, State.RUNNING], "A stop was asked for.", actor, state=State.STOPPING, **wish)
    if not changed and run.state != State.STOPPING:
        raise Refused(f"This run is {run.state} already, so there is nothing to stop.")
    return run


def resume(run: Run, actor: User | None = None) -> Run:
    """Queue a run that ended early again; it goes on from its last stored checkpoint. Raises Refused."""
    if run.source != Run.Source.MANAGED:
        raise Refused("This run was recorded elsewhere, so it cannot be resumed here.")
    cleared = {"stop_requested_at": None, "force_requested_at": None, "finished_at": None, "reason": "", "remedy": ""}
    with transaction.atomic():
        if not _change(run, [State.STOPPED, State.FAILED], "Resumed.", actor, state=State.QUEUED, **RELEASED, **cleared):
            raise Refused(f"This run is {run.state}; only one that stopped or failed can be resumed.")
        _wake(run)
    return run


def clone(run: Run, team: Team, owner: User | None) -> Run:
    """A new run with the same definition. Raises Refused if there is none."""
    if run.spec is None:
        raise Refused("This run was recorded elsewhere without its definition, so it cannot be cloned.")
    return create_run(team, owner, run.spec, name=run.name, recipe=run.recipe, parent=run)


def claim(run_id: int, holder: str) -> Attempt | None:
    """Take a queued run for `holder` (unique per worker); None if it was not queued any more. Of any number of claimers one gets it."""
    now = timezone.now()
    fresh = {"state": State.STARTING, "attempt": F("attempt") + 1, "lease_holder": holder, "heartbeat_at": Now()}
    with transaction.atomic():
        if not Run.objects.filter(pk=run_id, state=State.QUEUED).update(**fresh):
            return None
        run = Run.objects.get(pk=run_id)
        Run.objects.filter(pk=run_id, started_at=None).update(started_at=now)
        Run.objects.filter(pk=run_id).update(summary={**run.summary, "phase": "loading", "done": None, "of": None})
        attempt = Attempt.objects.create(run=run, number=run.attempt, host=holder[:200])
        _announce(run, f"Claimed by {holder}.", None)
    return attempt


def heartbeat(run_id: int, attempt: int, holder: str) -> bool:
    """Show that attempt `attempt` lives; False if Postgres shows a higher attempt or the run has ended."""
    mine = Run.objects.filter(pk=run_id, attempt=attempt, state__in=ACTIVE)
    return mine.update(heartbeat_at=Now(), lease_holder=holder) == 1


def finish(run_id: int, attempt: int, state: str, reason: str = "", remedy: str = "") -> bool:
    """End attempt `attempt` in `state`; False if it is not the run's attempt any more or has ended. When it ended is kept either way."""
    now = timezone.now()
    with transaction.atomic():
        Attempt.objects.filter(run=run_id, number=attempt, finished_at=None).update(finished_at=now)
        run = Run.objects.select_for_update().filter(pk=run_id, attempt=attempt).first()
        ending = {"state": State(state), "finished_at": now, "reason": reason, "remedy": remedy, "heartbeat_at": None}
        return run is not None and _change(run, ACTIVE, reason, None, **ending)


def requeue(run_id: int, attempt: int, reason: str) -> bool:
    """Queue an orphaned run again; False if somebody was quicker. A stop that was asked for ends it instead."""
    run = Run.objects.filter(pk=run_id, attempt=attempt).first()
    if run is None:
        return False
    if run.stop_requested_at is not None:
        return finish(run_id, attempt, State.STOPPED, reason)
    with transaction.atomic():
        changed = _change(run, ACTIVE, reason, None, state=State.QUEUED, **RELEASED)
        if changed:
            _wake(run)
        return changed


def queued() -> QuerySet[Run]:
    """Runs that wait for a worker, oldest first."""
    return Run.objects.filter(state=State.QUEUED).order_by("created_at")


def orphans(lease: timedelta) -> QuerySet[Run]:
    """Active runs whose worker has not been heard of for `lease`, by the clock of the database."""
    return Run.objects.filter(state__in=ACTIVE, heartbeat_at__lt=Now() - lease)


def delete(run: Run) -> None:
    """Remove a run that is over and all that is recorded of it. Raises Refused while it may still be worked on."""
    with transaction.atomic():
        locked = Run.objects.select_for_update().filter(pk=run.pk, state__in=FINISHED).first()
        if locked is None:
            raise Refused("Stop this run before you delete it.")
        locked.delete()


def _change(run: Run, allowed: Iterable[str], cause: str, actor: User | None, **values: Any) -> bool:
    """Apply `values` if the run, at the attempt that `run` shows, is in one of the `allowed` states. `run` is read anew either way."""
    with transaction.atomic():
        found = Run.objects.filter(pk=run.pk, attempt=run.attempt, state__in=list(allowed)).update(**values)
        run.refresh_from_db()
        if found:
            _announce(run, cause, actor)
    return found == 1


def _announce(run: Run, reason: str, actor: User | None) -> None:
    """Record the state and ring the doorbell; part of the transaction that changed it."""
    Run.objects.filter(pk=run.pk).update(news=F("news") + 1)
    run.refresh_from_db()
    _record(run, reason, actor)
    doorbell.ring_on_commit(run.public_id, run.news)


def _record(run: Run, reason: str, actor: User | None) -> None:
    Transition.objects.create(run=run, attempt=run.attempt, state=run.state, reason=reason, actor=actor)


def _wake(run: Run) -> None:
    transaction.on_commit(lambda: celery_client.wake(run.pk))
