"""Data sets that a team uploads: kept as they are, with a mapping that says which column holds
what.

An upload is first a file in the store, named by its content; it becomes a data set when somebody
has said what its columns mean and every row has been read once. Files of any size are streamed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.utils.text import slugify

from trainer.spec import Data, FileProblems, SpecIssue, issues_in
from trainer.text import problems
from trainer.text.problems import Inspection, ProblemError, Survey
from trainer.text.verifiers import Verifier
from webapp.access.models import Team, User
from webapp.base.number_text import bytes_size
from webapp.library import artifacts, uploads
from webapp.library.models import Artifact, DataSet

PREVIEWED = 10
SECONDS = 5.0
MEDIA_TYPES = {
    "jsonl": "application/jsonl",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}


@dataclass(frozen=True)
class Mapping:
    """What the columns mean and how answers are judged, as a definition has it; `issues` name
    form fields.
    """

    source: FileProblems | None
    verifier: Any
    issues: tuple[SpecIssue, ...]


@dataclass(frozen=True)
class Reading:
    """A problem as the run will see it. `reference` is the answer as the verifier reads it, empty
    if it cannot.
    """

    question: str
    answer: str
    reference: str


def keep(team: Team, file: UploadedFile) -> Artifact:
    """Store an upload that holds data. Raises ProblemError with a sentence."""
    path = uploads.path_of(file)
    if (file.size or 0) > settings.MAX_UPLOAD_BYTES:
        raise ProblemError(
            f"The file has {bytes_size(file.size or 0)}; this server takes at most {bytes_size(settings.MAX_UPLOAD_BYTES)}."
        )
    found = inspect(path, uploads.shown_name(file.name or ""))
    return artifacts.put(path, team, MEDIA_TYPES.get(found.format, "application/octet-stream"))


def inspect(path: Path, filename: str) -> Inspection:
    """Format, columns and first rows. Raises ProblemError, which calls the file by the name it was
    uploaded under.
    """
    try:
        return problems.inspect(path)
    except ProblemError as error:
        raise ProblemError(called(error, path, filename)) from None


def mapping_of(definition: dict[str, Any]) -> Mapping:
    """The mapping in a (possibly invalid) definition that a form made: data.train.columns and
    data.verifier.
    """
    found = issues_in({"data": {**definition.get("data", {})}, "stages": [{"name": "any"}]})
    if said := [issue for issue in found if issue.path.startswith("data.")]:
        return Mapping(None, None, tuple(said))
    data = Data.model_validate(definition["data"])
    return Mapping(data.train if isinstance(data.train, FileProblems) else None, data.verifier, ())


def read(path: Path, filename: str, mapping: Mapping) -> list[Reading]:
    """The first problems, exactly as the verifier reads their answers. Raises ProblemError."""
    source = mapping.source
    if source is None:
        return []
    try:
        found = problems.preview(path, source.columns, PREVIEWED, source.format)
    except ProblemError as error:
        raise ProblemError(called(error, path, filename)) from None
    with Verifier(mapping.verifier, SECONDS) as verifier:
        references = verifier.read_references([one.answer for one in found])
    return [
        Reading(one.question, one.answer, reference)
        for one, reference in zip(found, references, strict=True)
    ]


def create(
    team: Team, user: User | None, name: str, artifact: Artifact, filename: str, mapping: Mapping
) -> tuple[DataSet, Survey]:
    """Read every row once and keep the data set, with the newest mapping if it was there. Raises
    ProblemError.
    """
    slug = slugify(name)[:80]
    if not slug:
        raise ProblemError("Give the data set a name with at least one letter or digit.")
    if mapping.source is None:
        raise ProblemError("Choose the columns first.")
    path = artifacts.path(team, artifact.sha256)
    try:
        found = problems.survey(mapping.source, path)
    except ProblemError as error:
        raise ProblemError(called(error, path, filename)) from None
    kept = {
        "artifact": artifact,
        "filename": filename,
        "format": inspect(path, filename).format,
        "columns": mapping.source.columns.model_dump(),
        "verifier": mapping.verifier.model_dump(),
        "problem_count": found.count,
    }
    row, _ = DataSet.objects.update_or_create(
        team=team,
        name=slug,
        fingerprint=found.fingerprint,
        defaults=kept,
        create_defaults={**kept, "created_by": user},
    )
    return row, found


def called(error: ProblemError, path: Path, filename: str) -> str:
    """The complaint with the file's own name in place of its name in the store."""
    text = str(error).replace(path.name, filename)
    started = text if text.startswith(filename) else text[:1].upper() + text[1:]
    return started + ("" if started.endswith((".", "?", "!")) else ".")
