"""The problems of a run: `load_all` reads every source once, splits and refuses leakage.

A fingerprint is the SHA-256 of the problems as canonical JSON lines in their order: the same
problems have the same fingerprint from JSON Lines, CSV or Parquet, and the same fingerprint and
seed give the same run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path

from trainer.spec import ArithmeticProblems, Columns, Data, FileProblems, SplitProblems
from trainer.spec.data import ChoiceAnswers, EvalProblems
from trainer.text.problems import arithmetic, files, selection
from trainer.text.problems.benchmarks import decide_choice_answers
from trainer.text.problems.inspection import inspect
from trainer.text.problems.locations import locate
from trainer.text.problems.mapping import choice_pair, problem_of
from trainer.text.problems.records import Problem, ProblemError, ProblemSet, Row
from trainer.text.problems.selection import Numbered

# A run holds its problems in memory.
MOST = 1_000_000
MOST_GROUPS = 100
# Rows that a preview reads to decide how the right choice is named; a run reads all.
PREVIEWED_ROWS = 10_000
NAMED = 5

Resolve = Callable[[str], Path]


@dataclass(frozen=True, slots=True)
class Survey:
    """Facts about a whole file.

    `fingerprint` equals that of the `ProblemSet` that `load` makes of it; `repeats` is the number
    of repeated problems, which are not counted. `choice_answers` is how the file names its right
    choices.
    """

    count: int
    fingerprint: str
    repeats: int
    choice_answers: ChoiceAnswers = "auto"


@dataclass(frozen=True, slots=True)
class RunProblems:
    """The training problems of a run, its held-out problems, and those for measuring forgetting."""

    train: ProblemSet
    evaluation: ProblemSet
    retained: ProblemSet | None


def load_all(data: Data, resolve: Resolve = locate) -> RunProblems:
    """All problems of a run.

    Raises ProblemError for unusable problems and for evaluation problems that are trained on.
    """
    train_source = load_source(data.train, resolve)
    if isinstance(data.evaluation, SplitProblems):
        train, evaluation = _split(train_source, data.evaluation.share, data.train.seed)
    else:
        train, evaluation = train_source, load_source(data.evaluation, resolve)
    retained = load_source(data.retained, resolve) if data.retained else None
    selection.check_disjoint(train.items, evaluation.items, "held-out")
    selection.check_disjoint(train.items, retained.items if retained else (), "retained")
    return RunProblems(train, evaluation, retained)


def load(source: EvalProblems, data: Data, resolve: Resolve = locate) -> ProblemSet:
    """The problems of one source of `data`, without a check for leakage.

    The training source is returned without its held-out share.
    """
    if not isinstance(data.evaluation, SplitProblems) or source not in (
        data.evaluation,
        data.train,
    ):
        return load_source(source, resolve)
    train, evaluation = _split(
        load_source(data.train, resolve), data.evaluation.share, data.train.seed
    )
    return evaluation if source == data.evaluation else train


def preview(
    path: Path, columns: Columns, count: int = 10, format: str = "auto", split: str | None = None
) -> list[Problem]:
    """The first problems of a file. An empty question or answer is returned, not refused."""
    way = choice_answers(path, columns, format, split)
    columns = columns.model_copy(update={"choice_answers": way})
    return [
        problem_of(row, columns, path.name)
        for row in islice(files.rows(path, format, split), count)
    ]


def choice_answers(
    path: Path, columns: Columns, format: str = "auto", split: str | None = None
) -> ChoiceAnswers:
    """How the first rows of a file name their right choices."""
    head = islice(files.rows(path, format, split), PREVIEWED_ROWS)
    return with_choice_answers(columns, head, path.name).choice_answers


def with_choice_answers(columns: Columns, rows: Iterable[Row], name: str) -> Columns:
    """The columns with the way in which these rows name their right choices, if it is open."""
    if columns.choices is None or columns.choice_answers != "auto":
        return columns
    pairs = (choice_pair(row, columns, name) for row in rows)
    return columns.model_copy(update={"choice_answers": decide_choice_answers(pairs)})


def survey(source: FileProblems, path: Path) -> Survey:
    """Read a file of any size once, with only the ids of its problems in memory.

    Raises ProblemError as `load` does.
    """
    digest, read, count = hashlib.sha256(), 0, 0
    columns = _columns(source, path)

    def complete() -> Iterator[Numbered]:
        nonlocal read
        for numbered in _complete(_numbered(source, columns, path), path.name):
            read += 1
            yield numbered

    for _, problem in selection.without_repeats(complete(), has_ids=columns.id is not None):
        digest.update(_line(problem))
        count += 1
    if not count:
        raise ProblemError(f"{path.name} has no rows after its header; it needs one per problem")
    return Survey(count, digest.hexdigest(), read - count, columns.choice_answers)


def references(source: FileProblems, path: Path) -> Iterator[str]:
    """The reference answers of a file, in order. Raises ProblemError as `load` does."""
    columns = _columns(source, path)
    for row in files.rows(path, source.format, source.split):
        yield problem_of(row, columns, path.name).answer


def problem_set(problems: Iterable[Problem], notes: Iterable[str] = ()) -> ProblemSet:
    items = tuple(problems)
    digest = hashlib.sha256()
    for problem in items:
        digest.update(_line(problem))
    return ProblemSet(items, digest.hexdigest(), tuple(notes))


def _line(problem: Problem) -> bytes:
    # The order of the fields is part of every stored fingerprint: a new field would change all.
    return json.dumps(astuple(problem), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def load_source(source: EvalProblems, resolve: Resolve = locate) -> ProblemSet:
    """All problems of one source. Raises ProblemError."""
    if isinstance(source, ArithmeticProblems):
        return problem_set(
            arithmetic.make(source.families, source.levels, source.count, source.seed)
        )
    if isinstance(source, FileProblems):
        return _from_file(source, resolve(source.path))
    raise ProblemError("only evaluation problems can be a held-out share of the training problems")


def _from_file(source: FileProblems, path: Path) -> ProblemSet:
    columns = _columns(source, path)
    complete = _complete(_numbered(source, columns, path), path.name)
    selected = (
        selection.sampled(complete, source.limit, source.seed)
        if source.limit
        else _collect(complete, path.name)
    )
    problems = [
        problem
        for _, problem in selection.without_repeats(selected, has_ids=columns.id is not None)
    ]
    if not problems:
        raise ProblemError(f"{path.name} has no rows after its header; it needs one per problem")
    repeats = len(selected) - len(problems)
    return problem_set(
        problems, [f"{repeats} repeated problems of {path.name} were left out"] if repeats else []
    )


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
    return Columns(**{role: column for role, column in inspection.guess.items() if column})


def _numbered(source: FileProblems, columns: Columns, path: Path) -> Iterator[Numbered]:
    groups: dict[str, set[str]] = {"domain": set(), "difficulty": set()}
    for row in files.rows(path, source.format, source.split):
        problem = problem_of(row, columns, path.name)
        for role, values in groups.items():
            values.add(getattr(problem, role))
            if len(values) > MOST_GROUPS:
                raise ProblemError(
                    f"the {role} column of {path.name} has more than {MOST_GROUPS} different "
                    "values; it groups the pass rates, so map a column with few values or none"
                )
        yield row.number, problem


def _complete(problems: Iterable[Numbered], name: str) -> Iterator[Numbered]:
    """Yield complete problems.

    Raises ProblemError, which names the rows without question or answer, at the end of the file or
    as soon as there are many.
    """
    missing: dict[str, list[int]] = {"question": [], "answer": []}
    for row, problem in problems:
        gaps = [role for role in missing if not getattr(problem, role)]
        for role in gaps:
            missing[role].append(row)
        if not gaps:
            yield row, problem
        elif max(map(len, missing.values())) == NAMED:
            break
    for role, rows in missing.items():
        if rows:
            more = " and perhaps more" if len(rows) == NAMED else ""
            subject, verb = ("row", "has") if len(rows) == 1 else ("rows", "have")
            raise ProblemError(
                f"{subject} {', '.join(map(str, rows))}{more} of {name} {verb} no {role}; "
                f"fill it in or remove the {subject}"
            )


def _collect(problems: Iterator[Numbered], name: str) -> list[Numbered]:
    collected = list(islice(problems, MOST + 1))
    if len(collected) > MOST:
        raise ProblemError(
            f"{name} has more than {MOST:,} problems; set a limit to use a part of them"
        )
    return collected


def _split(problems: ProblemSet, share: float, seed: int) -> tuple[ProblemSet, ProblemSet]:
    training, held_out = selection.split(problems.items, share, seed)
    if not training or not held_out:
        empty = "training" if not training else "evaluation"
        raise ProblemError(
            f"holding out {share:g} of {len(problems)} problems leaves none for {empty}; "
            "change the share or add problems"
        )
    return problem_set(training, problems.notes), problem_set(held_out)
