"""Reading of whole files before they become data sets, beside the requests of pages.

A reading is a row in Postgres (`waiting_rows`). It is read in a child process (`bounded_process`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from trainer.text.problems import ProblemError
from webapp.access.models import Team, User
from webapp.library import artifacts, bounded_process, data_files, data_sets
from webapp.library.bounded_process import Follow
from webapp.library.data_files import Progress, WholeFile
from webapp.library.data_sets import Mapping
from webapp.library.models import Artifact, DataReading, DataSet
from webapp.library.waiting_rows import WaitingRows

MOST_AT_ONCE = 2
MOST_UNFINISHED = 20


def begin(
    team: Team, user: User | None, name: str, artifact: Artifact, filename: str, mapping: Mapping
) -> DataReading:
    """Let a mapped file be read. Raises ProblemError if it has no name or too many are waiting."""
    assert mapping.source is not None
    return _begin(
        DataReading(
            team=team,
            created_by=user,
            name=data_sets.name_of(name),
            artifact=artifact,
            filename=filename,
            columns=mapping.source.columns.model_dump(),
            verifier=mapping.verifier.model_dump(),
        )
    )


def begin_holding_out(
    data: DataSet, user: User | None, name: str, training: str, questions: int, seed: int
) -> DataReading:
    """Let problems be held out: `questions` of them become the data set `name`.

    The others become the data set `training`. Raises ProblemError if a name or number is of no use.
    """
    name, training = data_sets.name_of(name), data_sets.name_of(training)
    if data.is_held_out:
        raise ProblemError(
            f"{data.name} is held out as a whole: no run is trained on a part of it."
        )
    if name == training:
        raise ProblemError("Give the held-out set and the training set different names.")
    if not 1 <= questions < data.problem_count:
        raise ProblemError(
            f"Hold out at least 1 of the {data.problem_count:,} problems, and leave at least 1 to "
            "train on."
        )
    if not 0 <= seed < 2**31:
        raise ProblemError("The seed must be a whole number from 0 to 2,147,483,647.")
    return _begin(
        DataReading(
            team=data.team,
            created_by=user,
            name=name,
            artifact=data.artifact,
            filename=data.filename,
            columns=data.columns,
            verifier=data.verifier,
            source=data,
            held_out={"questions": questions, "seed": seed, "training": training},
        )
    )


def _begin(reading: DataReading) -> DataReading:
    if READINGS.unfinished().filter(team=reading.team).count() >= MOST_UNFINISHED:
        raise ProblemError(
            f"The team has {MOST_UNFINISHED} files that are being read; wait for one of them."
        )
    reading.save()
    transaction.on_commit(READINGS.start)
    return reading


def execute(reading: DataReading) -> None:
    """Read the file to its end, and store the data set or why there is none."""
    row = READINGS.unfinished().filter(pk=reading.pk)

    def follow(progress: Progress | None) -> None:
        row.update(heartbeat_at=Now(), **(asdict(progress) if progress else {}))

    path = artifacts.local_path(reading.artifact.sha256)
    try:
        artifacts.path(reading.team, reading.artifact.sha256)
        if reading.held_out:
            read_files = _hold_out(reading, reading.held_out, path, follow)
        else:
            read_files = _read(reading, path, follow)
    except ProblemError as error:
        sentence = data_sets.with_uploaded_name(error, path, reading.filename)
        row.update(ended_at=Now(), problem=sentence)
    except FileNotFoundError:
        row.update(ended_at=Now(), problem="The file is no longer in the store. Upload it again.")
    else:
        with transaction.atomic():
            *_, data = (_store(reading, file) for file in read_files)
            row.update(ended_at=Now(), data_set=data, rows=read_files[-1].whole.survey.rows)


@dataclass(frozen=True)
class ReadFile:
    """A file that becomes a data set."""

    name: str
    artifact: Artifact
    filename: str
    whole: WholeFile
    is_held_out: bool = False


def _read(reading: DataReading, path: Path, follow: Follow) -> list[ReadFile]:
    mapping = _mapping(reading)
    whole = bounded_process.run(
        data_files.read_whole,
        path,
        mapping.source,
        mapping.verifier,
        seconds=data_sets.WHOLE_SECONDS,
        follow=follow,
    )
    return [ReadFile(reading.name, reading.artifact, reading.filename, whole)]


def _hold_out(
    reading: DataReading, held_out: dict[str, Any], path: Path, follow: Follow
) -> list[ReadFile]:
    """Hold out problems; the held-out set comes last."""
    mapping = _mapping(reading)
    names = (held_out["training"], reading.name)
    with TemporaryDirectory(dir=settings.FILE_UPLOAD_TEMP_DIR) as folder:
        whole_files = bounded_process.run(
            data_files.hold_out,
            path,
            mapping.source,
            mapping.verifier,
            held_out["questions"],
            held_out["seed"],
            Path(folder),
            seconds=data_sets.WHOLE_SECONDS,
            follow=follow,
        )
        stored = [
            artifacts.put(Path(folder) / file, reading.team, data_sets.MEDIA_TYPES["jsonl"])
            for file in ("training.jsonl", "held_out.jsonl")
        ]
    return [
        ReadFile(name, artifact, f"{name}.jsonl", whole, is_held_out)
        for name, artifact, whole, is_held_out in zip(
            names, stored, whole_files, (False, True), strict=True
        )
    ]


def _mapping(reading: DataReading) -> Mapping:
    train = {"kind": "file", "path": "file:upload", "columns": reading.columns}
    return data_sets.mapping_of({"data": {"train": train, "verifier": reading.verifier}})


def _store(reading: DataReading, file: ReadFile) -> DataSet:
    return data_sets.store(
        reading.team,
        reading.created_by,
        file.name,
        file.artifact,
        file.filename,
        reading.verifier,
        file.whole,
        made_from=reading.source,
        is_held_out=file.is_held_out,
    )


READINGS = WaitingRows(DataReading, execute, MOST_AT_ONCE)
