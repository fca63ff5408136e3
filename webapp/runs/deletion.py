"""Deleting runs: hidden at once, removed for good a day later, restored until then.

A deleted run exists for nobody: lists, pages, share links and the interfaces of clients leave it
out, because `permissions.visible` does. Its rows and files stay until `remove_expired`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import Now

from webapp.access.models import User
from webapp.base import statement_limit
from webapp.base.database_clock import database_now
from webapp.library.models import Artifact
from webapp.runs import status_text
from webapp.runs.edits import Edit, EditRefused
from webapp.runs.models import ACTIVE, FINISHED, Checkpoint, RemovedRun, RolloutRow, Run

UNDO = timedelta(days=1)
FIELDS = ("deleted_at", "deleted_by")


@dataclass(frozen=True)
class Contents:
    """What is removed with runs, in rows and bytes of their files.

    `checkpoints_of` counts the checkpoints of the runs that hold some, by their primary keys.
    """

    checkpoints: int
    checkpoint_bytes: int
    rollouts: int
    rollout_bytes: int
    checkpoints_of: Mapping[int, int]


def contents_of(runs: QuerySet[Run]) -> Contents:
    """Count what belongs to `runs`."""
    # Named by their keys: the database would otherwise join the runs to every rollout.
    keys = list(runs.values_list("pk", flat=True))
    rollouts = RolloutRow.objects.filter(run__in=keys)
    # One file holds the rollouts of a step.
    files = Artifact.objects.filter(
        team__in=runs.values("team"), sha256__in=rollouts.values("artifact")
    )
    rows = (
        Checkpoint.objects.filter(run__in=keys)
        .values_list("run")
        .annotate(number=Count("pk"), bytes=Sum("size"))
    )
    checkpoints = list(rows)
    return Contents(
        sum(number for _, number, _ in checkpoints),
        sum(size for *_, size in checkpoints),
        rollouts.count(),
        files.aggregate(bytes=Sum("size"))["bytes"] or 0,
        {run: number for run, number, _ in checkpoints},
    )


def delete(actor: User | None) -> Edit:
    """Return the edit that hides a run from everybody. It refuses runs that may be active."""
    now = database_now()

    def change(run: Run) -> str:
        if run.source == Run.Source.MANAGED and run.state not in FINISHED:
            raise EditRefused("Stop this run before you delete it.")
        is_logged = run.source == Run.Source.CLIENT and run.state in ACTIVE
        if is_logged and not status_text.is_silent(run):
            raise EditRefused("Its client is logging. End this run before you delete it.")
        run.deleted_at, run.deleted_by = now, actor
        return "Deleted."

    return Edit(FIELDS, change)


def undelete() -> Edit:
    """Return the edit that shows a deleted run again."""

    def change(run: Run) -> str:
        run.deleted_at = run.deleted_by = None
        return "Deletion undone."

    return Edit(FIELDS, change)


def undo_until(run: Run) -> datetime:
    """Return until when a deleted run can be restored."""
    assert run.deleted_at is not None
    return run.deleted_at + UNDO


def remove_expired() -> int:
    """Remove the runs for good whose deletion can no longer be undone; return how many.

    `artifacts.collect` then deletes the files that no other row names, and each machine the run's
    folders that it has.
    """
    expired = Q(deleted_at__lt=Now() - UNDO)
    removed = 0
    for key in list(Run.objects.filter(expired).values_list("pk", flat=True)):
        with transaction.atomic():
            # Locked and checked again: somebody may have undone the deletion meanwhile.
            run = Run.objects.select_for_update().filter(expired, pk=key).first()
            if run is not None:
                # A long run has millions of rows.
                statement_limit.lift_limit()
                RemovedRun.objects.create(public_id=run.public_id)
                run.delete()
                removed += 1
    return removed


def removed_among(public_ids: Iterable[str]) -> set[str]:
    """Return those of `public_ids` whose run was removed for good."""
    removed = RemovedRun.objects.filter(public_id__in=list(public_ids))
    return set(removed.values_list("public_id", flat=True))
