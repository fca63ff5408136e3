"""Reading of whole files before they become data sets, beside the requests of pages.

A reading is a row in Postgres (`waiting_rows`). It is read in a child process (`bounded_process`).
"""

from __future__ import annotations

from dataclasses import asdict

from django.db import transaction
from django.db.models.functions import Now

from trainer.text.problems import ProblemError
from webapp.access.models import Team, User
from webapp.library import artifacts, bounded_process, data_files, data_sets
from webapp.library.data_files import Progress
from webapp.library.data_sets import Mapping
from webapp.library.models import Artifact, DataReading
from webapp.library.waiting_rows import WaitingRows

MOST_AT_ONCE = 2
MOST_UNFINISHED = 20


def begin(
    team: Team, user: User | None, name: str, artifact: Artifact, filename: str, mapping: Mapping
) -> DataReading:
    """Let a mapped file be read. Raises ProblemError if it has no name or too many are waiting."""
    assert mapping.source is not None
    slug = data_sets.name_of(name)
    if DataReading.objects.filter(team=team, ended_at=None).count() >= MOST_UNFINISHED:
        raise ProblemError(
            f"The team has {MOST_UNFINISHED} files that are being read; wait for one of them."
        )
    reading = DataReading.objects.create(
        team=team,
        created_by=user,
        name=slug,
        artifact=artifact,
        filename=filename,
        columns=mapping.source.columns.model_dump(),
        verifier=mapping.verifier.model_dump(),
    )
    transaction.on_commit(READINGS.start)
    return reading


def execute(reading: DataReading) -> None:
    """Read the file to its end, and store the data set or why there is none."""
    row = READINGS.unfinished().filter(pk=reading.pk)

    def follow(progress: Progress | None) -> None:
        row.update(heartbeat_at=Now(), **(asdict(progress) if progress else {}))

    train = {"kind": "file", "path": "file:upload", "columns": reading.columns}
    mapping = data_sets.mapping_of({"data": {"train": train, "verifier": reading.verifier}})
    path = artifacts.local_path(reading.artifact.sha256)
    try:
        artifacts.path(reading.team, reading.artifact.sha256)
        whole = bounded_process.run(
            data_files.read_whole,
            path,
            mapping.source,
            mapping.verifier,
            seconds=data_sets.WHOLE_SECONDS,
            follow=follow,
        )
    except ProblemError as error:
        sentence = data_sets.with_uploaded_name(error, path, reading.filename)
        row.update(ended_at=Now(), problem=sentence)
    except FileNotFoundError:
        row.update(ended_at=Now(), problem="The file is no longer in the store. Upload it again.")
    else:
        with transaction.atomic():
            data = data_sets.store(
                reading.team,
                reading.created_by,
                reading.name,
                reading.artifact,
                reading.filename,
                reading.verifier,
                whole,
            )
            row.update(ended_at=Now(), data_set=data, rows=whole.survey.rows)


READINGS = WaitingRows(DataReading, execute, MOST_AT_ONCE)
