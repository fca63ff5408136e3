"""What is read of a data file for its pages: the head, the first problems, or every row.

These functions run in a child process (`bounded_process`): no Django here, and nothing is kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.spec import Columns, FileProblems
from trainer.spec import Verifier as VerifierDefinition
from trainer.spec.verifiers.number_format import NumberFormat
from trainer.text import problems
from trainer.text.problems import Inspection, Problem, ProblemError, Survey
from trainer.text.problems.files import format_of
from trainer.text.verifiers import ReferenceCheck, Verifier, VerifierError, check_references
from trainer.text.verifiers.number_formats import guess_number_format

PREVIEW_ROWS = 10
VERIFIER_SECONDS = 5.0
# After this time the page says how many references were read.
REFERENCES_SECONDS = 600.0
# References from which the signs of numbers are guessed.
GUESSED_FROM = 1_000
REPORT_SECONDS = 0.5


@dataclass(frozen=True)
class Progress:
    """Rows that were read, then `references` of the `count` problems in them."""

    rows: int
    references: int = 0
    count: int = 0


@dataclass(frozen=True)
class WholeFile:
    """Facts about every row; `references` is None if the verifier's process does not start."""

    format: str
    survey: Survey
    references: ReferenceCheck | None


Report = Callable[[Progress], None]


def look(path: Path) -> tuple[Inspection, NumberFormat]:
    """The head of a file, and how the references of its guessed answer column write numbers.

    Raises ProblemError.
    """
    inspection = problems.inspect(path)
    guess = {role: column for role, column in inspection.guess.items() if column}
    if not {"question", "answer"} <= set(guess):
        return inspection, NumberFormat()
    try:
        rows = problems.preview(path, Columns.model_validate(guess), GUESSED_FROM)
    except ProblemError:
        # The columns are a guess too; the preview says what is wrong with them.
        return inspection, NumberFormat()
    return inspection, guess_number_format(row.answer for row in rows)


def first_problems(path: Path, source: FileProblems) -> tuple[list[Problem], str]:
    """The first problems, and how the file names right choices ("" without choices).

    Raises ProblemError.
    """
    rows = problems.preview(path, source.columns, PREVIEW_ROWS, source.format)
    if source.columns.choices is None:
        return rows, ""
    return rows, str(problems.choice_answers(path, source.columns, source.format))


def read_whole(
    path: Path, source: FileProblems, verifier: VerifierDefinition, report: Report
) -> WholeFile:
    """Read every row and every reference. Raises ProblemError if a row cannot be used."""
    throttled = _Throttle(report)
    survey = problems.survey(source, path, lambda rows: throttled(Progress(rows)))
    throttled.last = 0.0

    def counted() -> Iterator[str]:
        for number, reference in enumerate(problems.references(source, path), 1):
            throttled(Progress(survey.rows, number, survey.count))
            yield reference

    try:
        with Verifier(verifier, VERIFIER_SECONDS) as process:
            check = check_references(process, counted(), REFERENCES_SECONDS)
    except VerifierError:
        check = None
    return WholeFile(format_of(path), survey, check)


def fingerprint(path: Path, source: FileProblems, held_out_share: float | None) -> str:
    """The fingerprint of the problems that a job takes of a file. Raises ProblemError."""
    return problems.load_part(source, held_out_share, lambda _: path).fingerprint


def hold_out(
    path: Path,
    source: FileProblems,
    verifier: VerifierDefinition,
    questions: int,
    seed: int,
    folder: Path,
    report: Report,
) -> tuple[WholeFile, WholeFile]:
    """Write `training.jsonl` and `held_out.jsonl` into `folder`; return what was read of each.

    Raises ProblemError.
    """
    training, held_out = folder / "training.jsonl", folder / "held_out.jsonl"
    columns = problems.hold_out(source, path, questions, seed, training, held_out)

    def whole(file: Path) -> WholeFile:
        mapped = FileProblems(path=f"file:{file}", format="jsonl", columns=columns)
        return read_whole(file, mapped, verifier, report)

    return whole(training), whole(held_out)


class _Throttle:
    """Passes on a report every REPORT_SECONDS."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.last = 0.0

    def __call__(self, progress: Progress) -> None:
        if (now := time.monotonic()) - self.last > REPORT_SECONDS:
            self.last = now
            self.report(progress)
