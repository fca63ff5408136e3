"""The page that says what a deletion removes, and the list of deleted runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from django.core.exceptions import PermissionDenied
from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from webapp.access import permissions
from webapp.access.actors import Actor, actor_of
from webapp.base.view_marks import slow
from webapp.clients.models import RunFile
from webapp.jobs.models import Job
from webapp.jobs.models import State as JobState
from webapp.pages.runs.run_page import requested_run
from webapp.runs import deletion
from webapp.runs.edits import Edit, EditRefused
from webapp.runs.models import Run

# Rows of the list of deleted runs, which holds those of one day.
MOST_SHOWN = 500


@slow
@require_safe
def delete(request: HttpRequest, run_id: str) -> HttpResponse:
    """Say what the deletion of the run removes, and ask for its name if it holds checkpoints."""
    return confirmation(request, [requested_run(request, run_id, "edit")], reverse("runs"))


@require_safe
def deleted_runs(request: HttpRequest) -> HttpResponse:
    """List the deleted runs of the current team that can still be restored."""
    actor = actor_of(request)
    team = permissions.current_team(request)
    if not permissions.may(actor, "edit", team):
        raise PermissionDenied("Only editors of the team see its deleted runs.")
    runs = (
        permissions.deleted(actor, Run)
        .filter(team=team)
        .select_related("deleted_by")
        .defer("spec", "notes")
        .order_by("-deleted_at", "-pk")
    )
    rows = [(run, deletion.undo_until(run)) for run in runs[:MOST_SHOWN]]
    return render(request, "runs/deleted_runs.html", {"rows": rows})


def confirmation(
    request: HttpRequest, runs: Sequence[Run], next_url: str, mistake: str = ""
) -> HttpResponse:
    """Render the page on which a person confirms the deletion of `runs`."""
    actor = actor_of(request)
    edit, deletable, refused = deletion_by(actor), [], []
    for run in runs:
        try:
            edit.change(run)
            deletable.append(run)
        except EditRefused as refusal:
            refused.append((run, str(refusal)))
    keys = [run.pk for run in deletable]
    contents = deletion.contents_of(permissions.visible(actor, Run).filter(pk__in=keys))
    context = {
        "runs": deletable,
        "with_checkpoints": [
            (run, contents.checkpoints_of[run.pk])
            for run in deletable
            if run.pk in contents.checkpoints_of
        ],
        "refused": refused,
        "contents": contents,
        "files": permissions.visible(actor, RunFile)
        .filter(run__in=keys, artifact__isnull=False)
        .aggregate(count=Count("pk"), bytes=Sum("artifact__size")),
        "typed": typed_confirmation(deletable) if contents.checkpoints_of else "",
        "clones": permissions.visible(actor, Run)
        .filter(parent__in=keys)
        .exclude(pk__in=keys)
        .count(),
        "next": next_url,
        "mistake": mistake,
    }
    return render(request, "runs/delete.html", context, status=422 if mistake else 200)


def typed_confirmation(runs: Sequence[Run]) -> str:
    """Return what a person types to delete runs that hold checkpoints."""
    return runs[0].name if len(runs) == 1 else f"{len(runs)} runs"


def deletion_by(actor: Actor) -> Edit:
    """Return the edit that deletes a run. It refuses runs whose checkpoints running jobs read."""
    running_jobs = permissions.visible(actor, Job).filter(state=JobState.RUNNING)
    definitions = [json.dumps(spec) for spec in running_jobs.values_list("spec", flat=True)]
    edit = deletion.delete(actor.user)

    def change(run: Run) -> str:
        if any(f'"checkpoint:{run.public_id}@' in definition for definition in definitions):
            raise EditRefused(
                "A running job reads a checkpoint of this run. Stop the job, or wait for its end."
            )
        return edit.change(run)

    return replace(edit, change=change)
