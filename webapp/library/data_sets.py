"""Data sets that a team uploads: the unchanged file and a mapping of its columns.

An upload is first a file in the artifact store. It becomes a data set when somebody has mapped its
columns and every row has been read once (`data_readings`). Files of any size are streamed, and read
in a child process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.utils.text import slugify

from trainer.spec import Data, FileProblems, SpecIssue, issues_in
from trainer.spec.verifiers.number_format import NumberFormat
from trainer.text.problems import Inspection, Message, ProblemError
from trainer.text.verifiers import ReferenceCheck, Verifier
from webapp.access.models import Team, User
from webapp.base.number_text import bytes_size
from webapp.library import artifacts, bounded_process, data_files, uploads
from webapp.library.data_files import WholeFile
from webapp.library.models import Artifact, DataSet

# Of a page, or of an upload, for reading a file.
PAGE_SECONDS = 10.0
# Of all rows of a preview, with the start of the verifier's process.
PREVIEW_SECONDS = 15.0
# Of all rows and references of a file.
WHOLE_SECONDS = 3600.0
MEDIA_TYPES = {
    "jsonl": "application/jsonl",
    "json": "application/json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}


@dataclass(frozen=True)
class Mapping:
    """The meaning of the columns and the verifier, as in a definition.

    `issues` name form fields; `source` is None if there are any.
    """

    source: FileProblems | None
    verifier: Any
    issues: tuple[SpecIssue, ...]


@dataclass(frozen=True)
class ProblemPreview:
    """A problem as a run sees it; `reference` is the answer that the verifier reads, or empty.

    `mark` is the mark that it is read after, such as `####`, if the answer has one; `history` has
    the messages before the question.
    """

    question: str
    answer: str
    reference: str
    mark: str = ""
    history: tuple[Message, ...] = ()


def keep(team: Team, file: UploadedFile) -> Artifact:
    """Store an uploaded data file. Raises ProblemError with a sentence for the page."""
    path = uploads.path_of(file)
    if (file.size or 0) > settings.MAX_UPLOAD_BYTES:
        raise ProblemError(
            f"The file has {bytes_size(file.size or 0)}; "
            f"this server takes at most {bytes_size(settings.MAX_UPLOAD_BYTES)}."
        )
    inspection, _ = look(team, path, uploads.shown_name(file.name or ""))
    return artifacts.put(path, team, MEDIA_TYPES.get(inspection.format, "application/octet-stream"))


def look(team: Team, path: Path, filename: str) -> tuple[Inspection, NumberFormat]:
    """Return format, columns, first rows and first mapping, and how its references write numbers.

    Raises ProblemError with the uploaded name.
    """
    with _naming(path, filename):
        look: tuple[Inspection, NumberFormat] = bounded_process.for_page(
            team.pk, data_files.look, path, seconds=PAGE_SECONDS
        )
    return look


def mapping_of(definition: dict[str, Any]) -> Mapping:
    """Return the mapping in a definition from a form: `data.train.columns` and `data.verifier`."""
    # A definition needs a stage. Issues outside `data`, such as those of this one, are dropped.
    all_issues = issues_in({"data": {**definition.get("data", {})}, "stages": [{"name": "any"}]})
    if issues := [issue for issue in all_issues if issue.path.startswith("data.")]:
        return Mapping(None, None, tuple(issues))
    data = Data.model_validate(definition["data"])
    return Mapping(data.train if isinstance(data.train, FileProblems) else None, data.verifier, ())


def read(
    team: Team, path: Path, filename: str, mapping: Mapping
) -> tuple[list[ProblemPreview], str]:
    """Return the first problems with the answers that the verifier reads.

    Beside them how the file names right choices, as far as a preview reads; "" without choices.
    Raises ProblemError.
    """
    if mapping.source is None:
        return [], ""
    with _naming(path, filename):
        rows, choice_answers = bounded_process.for_page(
            team.pk, data_files.first_problems, path, mapping.source, seconds=PAGE_SECONDS
        )
    with Verifier(mapping.verifier, data_files.VERIFIER_SECONDS, PREVIEW_SECONDS) as verifier:
        readings = verifier.reference_readings([row.answer for row in rows])
    return [
        ProblemPreview(row.question, row.answer, reading.answer, reading.mark, row.history)
        for row, reading in zip(rows, readings, strict=True)
    ], choice_answers


def name_of(text: str) -> str:
    """Return the name of a data set from what was typed. Raises ProblemError if nothing is left."""
    if slug := slugify(text)[:80]:
        return slug
    raise ProblemError("Give the data set a name with at least one letter or digit.")


def create(
    team: Team, user: User | None, name: str, artifact: Artifact, filename: str, mapping: Mapping
) -> DataSet:
    """Read every row once and store the data set; an existing one gets the new mapping.

    Raises ProblemError if a row cannot be used.
    """
    assert mapping.source is not None
    slug = name_of(name)
    # The file in the store is read again, not the upload, which was deleted after its request.
    path = artifacts.path(team, artifact.sha256)
    with _naming(path, filename):
        whole = bounded_process.run(
            data_files.read_whole,
            path,
            mapping.source,
            mapping.verifier,
            seconds=WHOLE_SECONDS,
            follow=lambda _: None,
        )
    return store(team, user, slug, artifact, filename, mapping.verifier.model_dump(), whole)


def store(
    team: Team,
    user: User | None,
    slug: str,
    artifact: Artifact,
    filename: str,
    verifier: dict[str, Any],
    whole: WholeFile,
    made_from: DataSet | None = None,
    is_held_out: bool = False,
) -> DataSet:
    """Store the data set of a file that was read; repeating it changes nothing."""
    survey, name = whole.survey, artifacts.local_path(artifact.sha256).name
    fields = {
        "artifact": artifact,
        "filename": filename,
        "format": whole.format,
        "columns": survey.columns.model_dump(),
        "verifier": verifier,
        "references": asdict(whole.references) if whole.references else {},
        "problem_count": survey.count,
        "survey": {
            "rows": survey.rows,
            "left_out": [asdict(rows) for rows in survey.left_out],
            "notes": [note.replace(name, filename) for note in survey.notes],
        },
    }
    # Saved again, a data set stays what it is.
    if made_from:
        fields |= {"made_from": made_from, "is_held_out": is_held_out}
    row, _ = DataSet.objects.update_or_create(
        team=team,
        name=slug,
        fingerprint=survey.fingerprint,
        defaults=fields,
        create_defaults={**fields, "created_by": user},
    )
    return row


def unreadable_references(data: DataSet) -> str:
    """Return how many references the verifier cannot read, with examples; "" if it reads all."""
    if not data.references:
        return ""
    check = ReferenceCheck(**data.references)
    return check.sentence(data.verifier.get("kind", ""), "")


@contextmanager
def _naming(path: Path, filename: str) -> Iterator[None]:
    """Let a ProblemError have the uploaded file name."""
    try:
        yield
    except ProblemError as error:
        raise ProblemError(with_uploaded_name(error, path, filename)) from None


def with_uploaded_name(error: ProblemError, path: Path, filename: str) -> str:
    """Return the message with the uploaded file name instead of the name in the store."""
    text = str(error).replace(path.name, filename)
    message = text if text.startswith(filename) else text[:1].upper() + text[1:]
    return message + ("" if message.endswith((".", "?", "!")) else ".")
