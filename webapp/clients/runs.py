"""Runs that clients log: created when first logged to, ended when the client says so.

No state of a run refuses data: whatever arrives later is appended.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Q

from webapp.access.models import Team, User
from webapp.base.database_clock import database_now
from webapp.clients.client_batch import RunAddress, RunPublicId, cut
from webapp.clients.masking import masked, masked_text
from webapp.clients.models import Origin, Project
from webapp.runs import lifecycle, search_words
from webapp.runs.models import ACTIVE, Attempt, Run, State
from webapp.runs.transitions import TransitionRefused

# Of runs: with an archived project. A subquery: of a left join whose column must be NULL, Postgres
# expects hardly any row, and then sorts all runs where reading a part of an index would do.
IN_ARCHIVED_PROJECT = Q(
    Exists(Origin.objects.filter(project__archived_at__isnull=False, run=OuterRef("pk")))
)
IS_ARCHIVED = Q(archived_at__isnull=False) | IN_ARCHIVED_PROJECT
# Not ~IS_ARCHIVED: only of two separate conditions Postgres makes one join for all runs.
IS_NOT_ARCHIVED = Q(archived_at=None) & ~IN_ARCHIVED_PROJECT
LONGEST_NAME = 120
LONGEST_CLIENT_NAME = 2000
UNTITLED = "untitled"
# A run that logged within this time is joined by another process rather than resumed: processes
# that log to one run at the same time must not replace each other's values.
ALONGSIDE = timedelta(seconds=5)
LONGEST_PROJECT = 500
LONGEST_KEY = 250
NAME_TAG = "mlflow.runName"  # the tag by which MLflow's clients name a run, and rename it


def project(team: Team, name: str) -> Project:
    """Return the team's project of that name, created if there is none."""
    return Project.objects.get_or_create(team=team, name=project_name(name))[0]


def project_name(name: str) -> str:
    """Return the name of a project as it is stored."""
    return cut(name, LONGEST_PROJECT) or "default"


def key_of(name: str) -> str:
    """Return the key by which a client calls its run, as it is stored."""
    return cut(name, LONGEST_KEY)


def at(address: RunAddress) -> int:
    """Return the id of the run at `address`, created if there is none or it was deleted.

    Two callers that create it at once get the same run.
    """
    origins = Origin.objects.filter(
        project__team=address.team_id,
        project__name=project_name(address.project),
        client=address.client,
        key=key_of(address.key),
    )
    run_id, deleted_at = origins.values_list("run_id", "run__deleted_at").first() or (None, None)
    if run_id is not None:
        if deleted_at is None:
            return run_id
        _release_key(run_id)
    team = Team.objects.get(pk=address.team_id)
    owner = None if address.owner_id is None else User.objects.filter(pk=address.owner_id).first()
    where = project(team, address.project)
    # A new run must not be hidden, so that its project is restored.
    if where.archived_at is not None:
        restore_project(where)
    try:
        return create(
            where,
            owner,
            address.client,
            address.name,
            address.key,
            source=address.source,
        ).pk
    # Another process created the run since the query above; the unique key keeps one of the two.
    except IntegrityError:
        return origins.values_list("run_id", flat=True)[0]


def _release_key(run_id: int) -> None:
    """Let a new run have the key of a deleted one, which keeps its public id as its key."""
    with transaction.atomic():
        # Nothing changes if somebody has just undone the deletion: the run keeps its key.
        deleted_runs = Run.objects.select_for_update().filter(pk=run_id).exclude(deleted_at=None)
        for run in deleted_runs:
            Origin.objects.filter(pk=run.pk).update(key=run.public_id)


def named(name: RunPublicId) -> int:
    """Return the id of a run that a client of the team logs. Raises Run.DoesNotExist."""
    return Run.objects.values_list("pk", flat=True).get(
        team=name.team_id,
        public_id=name.public_id,
        source=Run.Source.CLIENT,
        deleted_at=None,
    )


def create(
    where: Project,
    owner: User | None,
    client: str,
    name: str,
    key: str = "",
    tags: dict[str, str] | None = None,
    source: str = Run.Source.CLIENT,
    started_at: datetime | None = None,
) -> Run:
    """Create a run that a client logs; without a `key` its key is its public id.

    Raises IntegrityError if the key is in use.
    """
    # An imported run is shown as stopped until the importer has read how it ended; nothing else
    # would end it if that process is killed.
    state = State.RUNNING if source == Run.Source.CLIENT else State.STOPPED
    with transaction.atomic():
        run = lifecycle.create_run(
            where.team,
            owner,
            None,
            name=shown_name(masked_text(name)),
            source=source,
            state=state,
        )
        now = database_now()
        Run.objects.filter(pk=run.pk).update(
            attempt=1, started_at=started_at or now, last_event_at=now
        )
        Attempt.objects.create(run=run, number=1, host=client)
        Origin.objects.create(
            run=run,
            project=where,
            client=client,
            key=key_of(key) or run.public_id,
            name=masked_text(name)[:LONGEST_CLIENT_NAME] or UNTITLED,
            tags=masked(tags or {}),
        )
        run.refresh_from_db()
    return run


def locked_origin(run: Run) -> Origin:
    """Return the origin of a run for a change of it in the caller's transaction.

    Whoever changes an origin first locks the row of its run, as `record` does. Raises
    Run.DoesNotExist if the run was deleted.
    """
    # Two statements, because the second one must read what the first has waited for.
    locked = Run.objects.select_for_update().get(pk=run.pk)
    return Origin.objects.select_related("run").get(pk=locked.pk)


def shown_name(name: str) -> str:
    """Return what pages call a run that its client calls `name`, unless a person renames it."""
    return name.strip()[:LONGEST_NAME] or UNTITLED


def rename(run: Run, name: str) -> None:
    """Rename a run as its client asks. On pages a name that a person gave it stays."""
    if not name.strip():
        return
    name = masked_text(name)
    with transaction.atomic():
        origin = locked_origin(run)
        if origin.run.name == shown_name(origin.name):
            run.name = shown_name(name)
            Run.objects.filter(pk=run.pk).update(name=run.name, edits=F("edits") + 1)
            search_words.write_words(run)
        Origin.objects.filter(pk=run.pk).update(name=name[:LONGEST_CLIENT_NAME])


def archive_project(project: Project) -> None:
    """Delete a project for clients, and take its runs out of lists; nothing is lost."""
    Project.objects.filter(pk=project.pk).update(archived_at=database_now())


def restore_project(project: Project) -> None:
    Project.objects.filter(pk=project.pk).update(archived_at=None)


def end(run: Run, state: str, ended_at: datetime | None = None) -> None:
    """End the run as the client reports; a run that ended before takes the last reported state."""
    with transaction.atomic():
        lifecycle.set_reported_state(run, state, "The client reported the end.")
        if ended_at is not None:
            Run.objects.filter(pk=run.pk).update(finished_at=ended_at)


def end_by_hand(run: Run, actor: User | None = None) -> Run:
    """End a run whose client does not say that it has ended, at the time of its last values.

    Values that arrive later are stored all the same. Raises TransitionRefused for other runs.
    """
    with transaction.atomic():
        # Locked: the client may end its run, or log, at the same time.
        run = Run.objects.select_for_update().get(pk=run.pk)
        if run.source != Run.Source.CLIENT or run.state not in ACTIVE:
            raise TransitionRefused("Only a run that a client is logging can be ended by hand.")
        lifecycle.set_reported_state(run, State.COMPLETED, "Ended by hand.", actor)
        Run.objects.filter(pk=run.pk).update(finished_at=run.last_event_at or database_now())
    return run


def reopen_by_hand(run: Run, actor: User | None = None) -> Run:
    """Show an ended run as logging again. Raises TransitionRefused for runs of no client."""
    with transaction.atomic():
        run = Run.objects.select_for_update().get(pk=run.pk)
        if run.source != Run.Source.CLIENT or run.state in ACTIVE:
            raise TransitionRefused("Only a run of a client that has ended can be reopened.")
        lifecycle.set_reported_state(run, State.RUNNING, "Reopened by hand.", actor)
    return run


def reopen(run: Run) -> None:
    """Resume a run; the next values tell whether the client went back to an earlier step.

    A killed process ends no run, so that a run may be resumed while it is still running. A run that
    logged within ALONGSIDE is logged by several processes, and is not resumed.
    """
    silent = run.last_event_at is None or database_now() - run.last_event_at > ALONGSIDE
    with transaction.atomic():
        # The series that were compared belong to the last resumption: each is compared again.
        if run.state not in ACTIVE or silent:
            origin = locked_origin(run)
            origin.resuming, origin.resumed_keys = True, []
            origin.save(update_fields=["resuming", "resumed_keys"])
        lifecycle.set_reported_state(run, State.RUNNING, "The client logs again.")
