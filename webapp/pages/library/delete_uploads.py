"""Removing what a team has uploaded and no longer needs. What a run or a job at work names stays:
its definition could not be read again without it.

The files themselves go with `artifacts.collect`, once nothing names them.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from webapp.access.models import Team
from webapp.jobs.models import Job
from webapp.jobs.models import State as JobState
from webapp.library import locations
from webapp.library.models import DataSet, StoredModel
from webapp.runs.models import Run


class InUse(Exception):
    """Runs, or jobs at work, name it; the message says how many and what to do."""


def delete(upload: DataSet | StoredModel) -> None:
    """Remove the upload. Raises InUse."""
    uri = (
        locations.uri_of_data(upload)
        if isinstance(upload, DataSet)
        else locations.uri_of_model(upload)
    )
    with transaction.atomic():
        Team.objects.select_for_update().get(pk=upload.team_id)
        if count := runs_with(uri, upload.team).count():
            raise InUse(
                f"{upload.name} is named by {count:,} run{'s' if count > 1 else ''}; delete "
                f"{'them' if count > 1 else 'it'} first."
            )
        if count := _jobs_at_work(uri, upload.team).count():
            raise InUse(
                f"{upload.name} is named by {count:,} job{'s' if count > 1 else ''} at "
                f"work; stop {'them' if count > 1 else 'it'} first."
            )
        upload.delete()


def runs_with(uri: str, team: Team) -> QuerySet[Run]:
    """The runs of the team whose definition names the location."""
    return (
        Run.objects.filter(team=team)
        .annotate(text=Cast("spec", TextField()))
        .filter(text__contains=f'"{uri}"')
    )


def _jobs_at_work(uri: str, team: Team) -> QuerySet[Job]:
    """A job that is over needs what it named no more."""
    running = Job.objects.filter(team=team, state=JobState.RUNNING)
    return running.annotate(text=Cast("spec", TextField())).filter(text__contains=f'"{uri}"')
