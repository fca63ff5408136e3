"""Data sets that a team uploads: the unchanged file and a mapping of its columns.

An upload is first a file in the artifact store. It becomes a data set when somebody has mapped its
columns and every row has been read once. Files of any size are streamed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.utils.text import slugify

from trainer.spec import Columns, Data, FileProblems, SpecIssue, issues_in
from trainer.spec.verifiers.number_format import NumberFormat
from trainer.text import problems
from trainer.text.problems import Inspection, Message, ProblemError, Survey
from trainer.text.verifiers import ReferenceCheck, Verifier, VerifierError, check_references
from trainer.text.verifiers.number_formats import guess_number_format
from webapp.access.models import Team, User
from webapp.base.number_text import bytes_size
from webapp.library import artifacts, uploads
from webapp.library.models import Artifact, DataSet

PREVIEW_ROWS = 10
VERIFIER_SECONDS = 5.0
# Of all rows of a preview, with the start of the verifier's process.
PREVIEW_SECONDS = 15.0
# Saving reads every reference; a page cannot wait longer, and then says how many were read.
REFERENCES_SECONDS = 60.0
# References from which the signs of numbers are guessed.
GUESSED_FROM = 1_000
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
    inspection = inspect(path, uploads.shown_name(file.name or ""))
    return artifacts.put(path, team, MEDIA_TYPES.get(inspection.format, "application/octet-stream"))


def inspect(path: Path, filename: str) -> Inspection:
    """Return format, columns and first rows. Raises ProblemError with the uploaded name."""
    try:
        return problems.inspect(path)
    except ProblemError as error:
        raise ProblemError(with_uploaded_name(error, path, filename)) from None


def mapping_of(definition: dict[str, Any]) -> Mapping:
    """Return the mapping in a definition from a form: `data.train.columns` and `data.verifier`."""
    # A definition needs a stage. Issues outside `data`, such as those of this one, are dropped.
    all_issues = issues_in({"data": {**definition.get("data", {})}, "stages": [{"name": "any"}]})
    if issues := [issue for issue in all_issues if issue.path.startswith("data.")]:
        return Mapping(None, None, tuple(issues))
    data = Data.model_validate(definition["data"])
    return Mapping(data.train if isinstance(data.train, FileProblems) else None, data.verifier, ())


def read(path: Path, filename: str, mapping: Mapping) -> list[ProblemPreview]:
    """Return the first problems with the answers that the verifier reads. Raises ProblemError."""
    source = mapping.source
    if source is None:
        return []
    try:
        rows = problems.preview(path, source.columns, PREVIEW_ROWS, source.format)
    except ProblemError as error:
        raise ProblemError(with_uploaded_name(error, path, filename)) from None
    with Verifier(mapping.verifier, VERIFIER_SECONDS, PREVIEW_SECONDS) as verifier:
        readings = verifier.reference_readings([row.answer for row in rows])
    return [
        ProblemPreview(row.question, row.answer, reading.answer, reading.mark, row.history)
        for row, reading in zip(rows, readings, strict=True)
    ]


def guessed_format(path: Path, inspection: Inspection) -> NumberFormat:
    """Return how the references of the guessed answer column write numbers."""
    guess = {role: column for role, column in inspection.guess.items() if column}
    if not {"question", "answer"} <= set(guess):
        return NumberFormat()
    try:
        rows = problems.preview(path, Columns.model_validate(guess), GUESSED_FROM)
    except ProblemError:
        # The columns are a guess too; the preview says what is wrong with them.
        return NumberFormat()
    return guess_number_format(row.answer for row in rows)


def choice_answers(path: Path, mapping: Mapping) -> str:
    """Return how the file names right choices, as far as a preview reads; "" without choices."""
    if mapping.source is None or mapping.source.columns.choices is None:
        return ""
    try:
        return str(problems.choice_answers(path, mapping.source.columns, mapping.source.format))
    except ProblemError:
        return ""


def create(
    team: Team, user: User | None, name: str, artifact: Artifact, filename: str, mapping: Mapping
) -> tuple[DataSet, Survey]:
    """Read every row once and store the data set; an existing one gets the new mapping.

    Raises ProblemError if a row cannot be used.
    """
    slug = slugify(name)[:80]
    if not slug:
        raise ProblemError("Give the data set a name with at least one letter or digit.")
    if mapping.source is None:
        raise ProblemError("Choose the columns first.")
    # The file in the store is read again, not the upload, which was deleted after its request.
    path = artifacts.path(team, artifact.sha256)
    try:
        survey = problems.survey(mapping.source, path)
    except ProblemError as error:
        raise ProblemError(with_uploaded_name(error, path, filename)) from None
    check = _check_references(path, mapping)
    fields = {
        "artifact": artifact,
        "filename": filename,
        "format": inspect(path, filename).format,
        "columns": survey.columns.model_dump(),
        "verifier": mapping.verifier.model_dump(),
        "references": asdict(check) if check else {},
        "problem_count": survey.count,
        "survey": {
            "rows": survey.rows,
            "left_out": [asdict(rows) for rows in survey.left_out],
            "notes": [note.replace(path.name, filename) for note in survey.notes],
        },
    }
    row, _ = DataSet.objects.update_or_create(
        team=team,
        name=slug,
        fingerprint=survey.fingerprint,
        defaults=fields,
        create_defaults={**fields, "created_by": user},
    )
    return row, survey


def unreadable_references(data: DataSet) -> str:
    """Return how many references the verifier cannot read, with examples; "" if it reads all."""
    if not data.references:
        return ""
    check = ReferenceCheck(**data.references)
    return check.sentence(data.verifier.get("kind", ""), "")


def _check_references(path: Path, mapping: Mapping) -> ReferenceCheck | None:
    """Read every reference; None if the verifier's process does not start."""
    assert mapping.source is not None
    try:
        with Verifier(mapping.verifier, VERIFIER_SECONDS) as verifier:
            return check_references(
                verifier, problems.references(mapping.source, path), REFERENCES_SECONDS
            )
    except VerifierError:
        return None


def with_uploaded_name(error: ProblemError, path: Path, filename: str) -> str:
    """Return the message with the uploaded file name instead of the name in the store."""
    text = str(error).replace(path.name, filename)
    message = text if text.startswith(filename) else text[:1].upper() + text[1:]
    return message + ("" if message.endswith((".", "?", "!")) else ".")
