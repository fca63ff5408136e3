"""Deletion of a team's data sets and models.

An upload that a run or a running job names is not deleted: the run could not be repeated, and the
job could not read it. The files themselves are deleted by `artifacts.collect`, once nothing names
them.
"""

from __future__ import annotations

from typing import TypeVar

from django.db import transaction
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast

from webapp.access.models import Team
from webapp.jobs.models import Job
from webapp.jobs.models import State as JobState
from webapp.library import locations
from webapp.library.models import DataSet, StoredModel
from webapp.runs.models import Run

Definable = TypeVar("Definable", Run, Job)


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
        if count := runs_with(uri, upload.team).filter(deleted_at=None).count():
            raise UploadInUse(
                f"{upload.name} is named by {count:,} run{'s' if count > 1 else ''}; delete "
                f"{'them' if count > 1 else 'it'} first."
            )
        # Their deletion can still be undone.
        if count := runs_with(uri, upload.team).count():
            raise UploadInUse(
                f"{upload.name} is named by {count:,} deleted run{'s' if count > 1 else ''}, which "
                "can still be restored. Delete it once they are removed, a day after their "
                "deletion."
            )
        # A finished job no longer needs what it names.
        running = Job.objects.filter(team=upload.team, state=JobState.RUNNING)
        if count := _naming(running, uri).count():
            raise UploadInUse(
                f"{upload.name} is named by {count:,} running "
                f"job{'s' if count > 1 else ''}; stop {'them' if count > 1 else 'it'} first."
            )
        upload.delete()


def runs_with(uri: str, team: Team) -> QuerySet[Run]:
    """Return the runs of the team whose definition names the location, deleted ones too."""
    return _naming(Run.objects.filter(team=team), uri)


def runs_trained_on(data: DataSet) -> QuerySet[Run]:
    uri = locations.uri_of_data(data)
    return Run.objects.filter(team=data.team, spec__data__train__path=uri)


def _naming(rows: QuerySet[Definable], uri: str) -> QuerySet[Definable]:
    """Return the runs or jobs whose definition names the location."""
    # A location may be a value anywhere in a definition, so its JSON is searched as text. The
    # quotes keep a location from being found in a longer one.
    return rows.annotate(text=Cast("spec", TextField())).filter(text__contains=f'"{uri}"')
