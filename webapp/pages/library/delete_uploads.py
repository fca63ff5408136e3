"""Deletion of a team's data sets and models.

An upload that a run or a running job names is not deleted: the run could not be repeated, and the
job could not read it. The files themselves are deleted by `artifacts.collect`, once nothing names
them.
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


class UploadInUse(Exception):
    """Runs or running jobs name the upload; the message says how many and what to do."""


def delete(upload: DataSet | StoredModel) -> None:
    """Delete the upload. Raises UploadInUse if a run or a running job names it."""
    uri = (
        locations.uri_of_data(upload)
        if isinstance(upload, DataSet)
        else locations.uri_of_model(upload)
    )
    with transaction.atomic():
        # An uncommitted new run or job holds a key-share lock on its team's row (its foreign key).
        # This lock waits for it, so the counts below include it.
        Team.objects.select_for_update().get(pk=upload.team_id)
        if count := runs_with(uri, upload.team).count():
            raise UploadInUse(
                f"{upload.name} is named by {count:,} run{'s' if count > 1 else ''}; delete "
                f"{'them' if count > 1 else 'it'} first."
            )
        if count := _running_jobs_with(uri, upload.team).count():
            raise UploadInUse(
                f"{upload.name} is named by {count:,} running "
                f"job{'s' if count > 1 else ''}; stop {'them' if count > 1 else 'it'} first."
            )
        upload.delete()


def runs_with(uri: str, team: Team) -> QuerySet[Run]:
    """Return the runs of the team whose definition names the location."""
    return (
        Run.objects.filter(team=team)
        .annotate(text=Cast("spec", TextField()))
        .filter(text__contains=f'"{uri}"')
    )


def _running_jobs_with(uri: str, team: Team) -> QuerySet[Job]:
    """Return the running jobs that name the location; a finished job no longer needs it."""
    running = Job.objects.filter(team=team, state=JobState.RUNNING)
    return running.annotate(text=Cast("spec", TextField())).filter(text__contains=f'"{uri}"')
