"""The problems of a run: `load_all` reads every source once, splits and refuses leakage.

A fingerprint is the SHA-256 of the problems as canonical JSON lines in their order: the same
problems have the same fingerprint from JSON Lines, CSV or Parquet, and the same fingerprint and
seed give the same run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from trainer.spec import (
    ArithmeticProblems,
    Columns,
    Data,
    FileProblems,
    SplitProblems,
)
from trainer.spec.data import ChoiceAnswers, EvalProblems, TrainProblems
from trainer.text.problems import arithmetic, files, selection
from trainer.text.problems.benchmarks import decide_choice_answers
from trainer.text.problems.cohorts import cohort_of
from trainer.text.problems.inspection import inspect
from trainer.text.problems.locations import locate
from trainer.text.problems.mapping import choice_pair
from trainer.text.problems.reading import LeftOut, Reading, ungrouped_if_many
from trainer.text.problems.records import Problem, ProblemError, ProblemSet, Row, UnusableRowError
from trainer.text.problems.selection import Numbered

# A run holds its problems in memory.
MOST = 1_000_000
# Rows from which a preview decides how the right choice is named, a second or two of reading.
DECIDING_ROWS = 100_000
NAMED = 5

Resolve = Callable[[str], Path]


@dataclass(frozen=True, slots=True)
class Survey:
    """Facts about a whole file.

    `fingerprint` equals that of the `ProblemSet` that `load` makes of it. Of `rows` in the file
    `count` are problems, the others are in `left_out`. `columns` is the mapping that was used.
    """

    count: int
    fingerprint: str
    rows: int
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    columns: Columns


@dataclass(frozen=True, slots=True)
class RunProblems:
    """The training problems of a run, its held-out problems, and those for measuring forgetting."""

    train: ProblemSet
    evaluation: ProblemSet
    retained: ProblemSet | None


def load_all(data: Data, resolve: Resolve = locate) -> RunProblems:
    """All problems of a run.

    Raises ProblemError for unusable problems and for evaluation problems that are trained on. Of a
    cohort these are all; its training problems have no references.
    """
    train_source = load_source(data.train, resolve)
    if data.is_cohort:
        train, evaluation = _cohort(data.train, train_source)
    elif isinstance(data.evaluation, SplitProblems):
        train, evaluation = _split(train_source, data.evaluation.share, data.train.seed)
    else:
        train, evaluation = train_source, load_source(data.evaluation, resolve)
    retained = load_source(data.retained, resolve) if data.retained else None
    if not data.is_cohort:
        selection.check_disjoint(train.items, evaluation.items, "held-out")
    selection.check_disjoint(train.items, retained.items if retained else (), "retained")
    return RunProblems(train, evaluation, retained)


def load(source: EvalProblems, data: Data, resolve: Resolve = locate) -> ProblemSet:
    """The problems of one source of `data`, without a check for leakage.

    The training source is returned without its held-out share, that of a cohort without references.
    """
    if source not in (data.evaluation, data.train):
        return load_source(source, resolve)
    if isinstance(data.evaluation, SplitProblems):
        train, evaluation = _split(
            load_source(data.train, resolve), data.evaluation.share, data.train.seed
        )
    elif data.is_cohort:
        train, evaluation = _cohort(data.train, load_source(data.train, resolve))
    else:
        return load_source(source, resolve)
    return evaluation if source == data.evaluation else train


def preview(
    path: Path, columns: Columns, count: int = 10, format: str = "auto", split: str | None = None
) -> list[Problem]:
    """The first problems of a file. An empty question or answer is returned, not refused.

    Unusable rows are left out where the mapping says so. Raises ProblemError for a column that none
    of the first rows has.
    """
    way = choice_answers(path, columns, format, split)
    columns = columns.model_copy(update={"choice_answers": way})
    source = FileProblems(path=f"file:{path}", format=format, split=split, columns=columns)
    return Reading(source, columns, path).head(count)


def choice_answers(
    path: Path, columns: Columns, format: str = "auto", split: str | None = None
) -> ChoiceAnswers:
    """How the rows of a file name their right choices, of a longer file its first ones.

    A run, and the page of a saved data set, decide from all rows.
    """
    rows = islice(files.rows(path, format, split), DECIDING_ROWS)
    return with_choice_answers(columns, rows, path.name).choice_answers


def with_choice_answers(columns: Columns, rows: Iterable[Row], name: str) -> Columns:
    """The columns with the way in which these rows name their right choices, if it is open."""
    if columns.choices is None or columns.choice_answers != "auto":
        return columns
    return columns.model_copy(
        update={"choice_answers": decide_choice_answers(_choice_pairs(columns, rows, name))}
    )


def _choice_pairs(columns: Columns, rows: Iterable[Row], name: str) -> Iterator[tuple[Any, str]]:
    for row in rows:
        try:
            yield choice_pair(row, columns, name)
        except UnusableRowError:
            # Refused or left out, by the choice of the mapping, where the row is read.
            continue


def survey(
    source: FileProblems, path: Path, report: Callable[[int], None] = lambda rows: None
) -> Survey:
    """Read a file of any size once, with only the ids of its problems in memory.

    `report` is told how many rows have been read. Raises ProblemError as `load` does.
    """

    def read(columns: Columns) -> Survey:
        reading = Reading(source, columns, path)
        digest, count = hashlib.sha256(), 0
        for problem in _unrepeated(reading, reading.problems()):
            digest.update(_line(problem))
            count += 1
            report(reading.rows)
        _check_any(count, reading)
        return Survey(
            count, digest.hexdigest(), reading.rows, reading.left_out, reading.notes, columns
        )

    found, columns, notes = ungrouped_if_many(_columns(source, path), path.name, read)
    return replace(found, columns=columns, notes=(*found.notes, *notes))


def references(source: FileProblems, path: Path) -> Iterator[str]:
    """The reference answers of a file, in order. Raises ProblemError as `load` does."""
    # A file with too many groups is read without them, and so are its references.
    ungrouped = {"domain": None, "difficulty": None}
    columns = _columns(source, path).model_copy(update=ungrouped)
    for _, problem in Reading(source, columns, path).problems():
        yield problem.answer


def stream(source: FileProblems, path: Path) -> Iterator[Problem]:
    """The problems of a file of any size, in order, by columns that a survey has settled.

    Raises ProblemError as `load` does.
    """
    reading = Reading(source, _columns(source, path), path)
    yield from _unrepeated(reading, reading.problems())


def problem_set(problems: Iterable[Problem], notes: Iterable[str] = ()) -> ProblemSet:
    items = tuple(problems)
    digest = hashlib.sha256()
    for problem in items:
        digest.update(_line(problem))
    return ProblemSet(items, digest.hexdigest(), tuple(notes))


def _line(problem: Problem) -> bytes:
    # The order of the fields is part of every stored fingerprint: a new field would change all, so
    # the last one is there only if it has a value.
    values = astuple(problem)
    return (
        json.dumps(
            values if problem.history else values[:-1], ensure_ascii=False, separators=(",", ":")
        ).encode()
        + b"\n"
    )


def load_source(source: EvalProblems, resolve: Resolve = locate) -> ProblemSet:
    """All problems of one source. Raises ProblemError."""
    if isinstance(source, ArithmeticProblems):
        return problem_set(
            arithmetic.make(source.families, source.levels, source.count, source.seed)
        )
    if isinstance(source, FileProblems):
        return _from_file(source, resolve(source.path))
    raise ProblemError("only evaluation problems can be a held-out share of the training problems")


def load_part(
    source: TrainProblems, held_out_share: float | None, resolve: Resolve = locate
) -> ProblemSet:
    """The problems of a source, or only those that a run on it holds out with this share.

    Raises ProblemError.
    """
    problems = load_source(source, resolve)
    return problems if held_out_share is None else _split(problems, held_out_share, source.seed)[1]


def _from_file(source: FileProblems, path: Path) -> ProblemSet:
    def read(columns: Columns) -> ProblemSet:
        reading = Reading(source, columns, path)
        selected = (
            selection.sampled(reading.problems(), source.limit, source.seed)
            if source.limit
            else _collect(reading.problems(), path.name)
        )
        problems = list(_unrepeated(reading, selected))
        _check_any(len(problems), reading)
        notes = [f"{path.name}: {left_out.sentence}" for left_out in reading.left_out]
        return problem_set(problems, [*notes, *reading.notes])

    problems, _, notes = ungrouped_if_many(_columns(source, path), path.name, read)
    return replace(problems, notes=(*problems.notes, *notes))


def _unrepeated(reading: Reading, problems: Iterable[Numbered]) -> Iterator[Problem]:
    return selection.without_repeats(
        problems,
        has_ids=reading.columns.id is not None,
        leave_out=reading.leave_out,
        refuse=reading.columns.unusable_rows == "refuse",
    )


def _check_any(count: int, reading: Reading) -> None:
    if count:
        return
    name = reading.path.name
    if reading.left_out:
        first = reading.left_out[0]
        raise ProblemError(f"no row of {name} is a problem: {first.sentence}; choose other columns")
    raise ProblemError(f"{name} has no rows after its header; it needs one per problem")


def _columns(source: FileProblems, path: Path) -> Columns:
    """The mapping: as given, or guessed from the column names; how choices are named from all."""
    rows = files.rows(path, source.format, source.split)
    return with_choice_answers(_named_columns(source, path), rows, path.name)


def _named_columns(source: FileProblems, path: Path) -> Columns:
    if source.shape == "columns":
        return source.columns
    inspection = inspect(path, split=source.split)
    for role in ("question", "answer"):
        if not inspection.guess[role]:
            column_names = ", ".join(f"“{column}”" for column in inspection.columns[:NAMED])
            raise ProblemError(
                f"no column of {path.name} has a name for the {role} (it has {column_names}); "
                "set shape to columns and name it"
            )
    return Columns.model_validate(
        {role: column for role, column in inspection.guess.items() if column}
    )


def _collect(problems: Iterator[Numbered], name: str) -> list[Numbered]:
    collected = list(islice(problems, MOST + 1))
    if len(collected) > MOST:
        raise ProblemError(
            f"{name} has more than {MOST:,} problems; set a limit to use a part of them"
        )
    return collected


def _cohort(source: TrainProblems, problems: ProblemSet) -> tuple[ProblemSet, ProblemSet]:
    train, evaluation = cohort_of(source, problems.items)
    return problem_set(train, problems.notes), problem_set(evaluation)


def _split(problems: ProblemSet, share: float, seed: int) -> tuple[ProblemSet, ProblemSet]:
    training, held_out = selection.split(problems.items, share, seed)
    if not training or not held_out:
        empty = "training" if not training else "evaluation"
        raise ProblemError(
            f"holding out {share:g} of {len(problems)} problems leaves none for {empty}; "
            "change the share or add problems"
        )
    return problem_set(training, problems.notes), problem_set(held_out)
