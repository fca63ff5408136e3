"""What people and clients do with a run: create, stop, pause, resume, clone.

Deleting is in `deletion`, and what people write about a run in `edits`. The changes of state are in
`transitions`; the worker's side (claim, renew, finish) in `leases`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from webapp.access.models import Team, User
from webapp.runs import naming, run_values
from webapp.runs.models import ACTIVE, FINISHED, Checkpoint, Evaluation, Event, Run, State
from webapp.runs.transitions import (
    NO_LEASE,
    NO_STOP_REQUEST,
    TransitionRefused,
    change_state,
    record,
    wake_on_commit,
)


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
    """Create a run of `team`; a managed one is queued and a worker woken.

    `spec` is a validated definition as plain JSON. `memory_bytes` is the least memory that each of
    its processes needs, if that is known: the run is placed on a machine that has as much.
    """
    definition = spec or {}
    with transaction.atomic():
        run = Run.objects.create(
            team=team,
            owner=owner,
            name=name or definition.get("name", "untitled"),
            recipe=recipe or definition.get("recipe", ""),
            spec=spec,
            parent=parent,
            source=source,
            state=state,
            tags=list(tags),
            memory_bytes=memory_bytes,
            # Columns of their own, because the queue and lists read them without the definition.
            max_restarts=(definition.get("compute") or {}).get("max_restarts"),
            summary=naming.first_summary(definition),
            total_steps=naming.total_steps(definition),
        )
        run_values.write_settings(run, run_values.settings_of(definition))
        record(run, "", owner)
        if state == State.QUEUED:
            wake_on_commit()
    return run


def request_stop(
    run: Run, actor: User | None = None, force: bool = False, resume_after_restart: bool = False
) -> Run:
    """Ask an active run to write a checkpoint and end, or with `force` to end at once.

    A queued or paused run is stopped immediately. Raises TransitionRefused if it has ended.
    """
    request: dict[str, Any] = {"stop_requested_at": Now()}
    # A restart of the workers must not undo the stop that a person asked for.
    if not resume_after_restart or run.state != State.STOPPING:
        request |= {"after_stop": State.STOPPED, "resume_after_restart": resume_after_restart}
    # Tried first, so that a worker that claims the run in between makes this UPDATE change nothing,
    # and the one below finds a starting run.
    if change_state(
        run,
        [State.QUEUED, State.PAUSED],
        "Cancelled.",
        actor,
        state=State.STOPPED,
        finished_at=Now(),
        **request,
    ):
        return run
    if force:
        stoppable, reason = list(ACTIVE), "Stop at once was requested."
        request["force_requested_at"] = Now()
    else:
        stoppable, reason = [State.STARTING, State.RUNNING], "A stop was requested."
    # A second request of the same stop changes nothing and is no error.
    if (
        not change_state(run, stoppable, reason, actor, state=State.STOPPING, **request)
        and run.state != State.STOPPING
    ):
        raise TransitionRefused(f"This run is {run.state} already, so there is nothing to stop.")
    return run


def pause(run: Run, actor: User | None = None) -> Run:
    """Ask for a checkpoint and free the devices until somebody resumes the run.

    A queued run is paused immediately. Raises TransitionRefused in other states.
    """
    request = {"stop_requested_at": Now(), "after_stop": State.PAUSED}
    if change_state(
        run,
        [State.QUEUED],
        "Paused in the queue.",
        actor,
        state=State.PAUSED,
        finished_at=Now(),
        **request,
    ):
        return run
    if not change_state(
        run,
        [State.STARTING, State.RUNNING],
        "A pause was requested.",
        actor,
        state=State.STOPPING,
        **request,
    ):
        raise TransitionRefused(f"This run is {run.state}, so it cannot be paused.")
    return run


def reschedule(run: Run, reason: str, actor: User | None = None) -> bool:
    """Ask for a checkpoint and queue the run again, for any machine; False if it is not active."""
    return change_state(
        run,
        [State.STARTING, State.RUNNING],
        reason,
        actor,
        state=State.STOPPING,
        stop_requested_at=Now(),
        after_stop=State.QUEUED,
    )


def resume(run: Run, actor: User | None = None, reason: str = "Resumed.") -> Run:
    """Queue a run that ended early; it resumes from its last stored checkpoint.

    Raises TransitionRefused if the run is not paused, stopped or failed, or is not managed here.
    """
    if run.source != Run.Source.MANAGED:
        raise TransitionRefused("This run was recorded elsewhere, so it cannot be resumed here.")
    with transaction.atomic():
        if not change_state(
            run,
            [State.PAUSED, State.STOPPED, State.FAILED],
            reason,
            actor,
            state=State.QUEUED,
            finished_at=None,
            reason="",
            remedy="",
            queued_at=Now(),
            queue_position=None,
            on_hold=False,
            # A person looked at the run, so that its automatic restarts are counted from 0 again.
            restarts=0,
            **NO_LEASE,
            **NO_STOP_REQUEST,
        ):
            raise TransitionRefused(
                f"This run is {run.state}; only a paused, stopped or failed run can be resumed."
            )
        wake_on_commit()
    return run


def clone(run: Run, team: Team, owner: User | None) -> Run:
    """Create a run with the same definition and tags; notes are about one run and not copied.

    Raises TransitionRefused if `run` has no definition.
    """
    if run.spec is None:
        raise TransitionRefused(
            "This run was recorded elsewhere without its definition, so it cannot be cloned."
        )
    return create_run(
        team,
        owner,
        run.spec,
        name=run.name,
        recipe=run.recipe,
        parent=run,
        tags=run.tags,
        memory_bytes=run.memory_bytes,
    )


def change_in_queue(run: Run, reason: str, actor: User | None, **values: Any) -> None:
    """Set fields of a queued run without a change of state. Raises TransitionRefused."""
    with transaction.atomic():
        if not change_state(run, [State.QUEUED], reason, actor, **values):
            raise TransitionRefused(f"This run is {run.state}; it is not in the queue any more.")
        wake_on_commit()


def set_reported_state(run: Run, state: str, reason: str, actor: User | None = None) -> None:
    """Store the state that a client, or a person (`actor`), reports of a run of a client.

    No worker of ours carries the run out, so every change of state is allowed.
    """
    finished_at = Now() if state in FINISHED else None
    with transaction.atomic():
        # Locked, because `change_state` compares the attempt, which another process of the client
        # may raise by a rewind.
        locked = Run.objects.select_for_update().get(pk=run.pk)
        other_states = [value for value in State.values if value != state]
        change_state(locked, other_states, reason, actor, state=state, finished_at=finished_at)


def referenced_artifacts(team_id: int) -> set[str]:
    """Return the SHA-256 of every file that rows of the team's runs name."""
    events = Event.objects.filter(run__team=team_id, payload__has_key="file")
    hashes = set(events.values_list("payload__file__sha256", flat=True))
    evaluations = Evaluation.objects.filter(run__team=team_id)
    hashes.update(evaluations.values_list("artifact", flat=True))
    for manifest in Checkpoint.objects.filter(run__team=team_id).values_list("manifest", flat=True):
        hashes |= {file["sha256"] for file in manifest.values()}
    return hashes
