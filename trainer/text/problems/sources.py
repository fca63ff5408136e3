"""The problems of a run: `load_all` reads every source once, holds out what is to be held out and
refuses leakage.

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

from trainer.spec.data import (
    ArithmeticProblems,
    Columns,
    Data,
    EvalProblems,
    FileProblems,
    SplitProblems,
)
from trainer.text.problems import arithmetic, files, selection
from trainer.text.problems.inspection import inspect
from trainer.text.problems.locations import locate
from trainer.text.problems.mapping import problem_of
from trainer.text.problems.records import Problem, ProblemError, ProblemSet
from trainer.text.problems.selection import Numbered

MOST = 1_000_000
MOST_GROUPS = 100
NAMED = 5

Resolve = Callable[[str], Path]


@dataclass(frozen=True, slots=True)
class Survey:
    """What a whole file holds: `fingerprint` is that of the `ProblemSet` which `load` makes of it,
    `repeats` were left out.
    """

    count: int
    fingerprint: str
    repeats: int


@dataclass(frozen=True, slots=True)
class RunProblems:
    """What a run trains on, is measured on, and is watched for forgetting on."""

    train: ProblemSet
    evaluation: ProblemSet
    retained: ProblemSet | None


def load_all(data: Data, resolve: Resolve = locate) -> RunProblems:
    """All problems of a run. Raises ProblemError for what cannot be used and for evaluation
    problems that are trained on.
    """
    everything = whole(data.train, resolve)
    if isinstance(data.evaluation, SplitProblems):
        train, evaluation = _split(everything, data.evaluation.share, data.train.seed)
    else:
        train, evaluation = everything, whole(data.evaluation, resolve)
    retained = whole(data.retained, resolve) if data.retained else None
    selection.check_disjoint(train.items, evaluation.items, "held-out")
    selection.check_disjoint(train.items, retained.items if retained else (), "retained")
    return RunProblems(train, evaluation, retained)


def load(source: EvalProblems, data: Data, resolve: Resolve = locate) -> ProblemSet:
    """The problems of one source of `data`; those of the training source lack what is held out.
    Leakage is not looked for.
    """
    if not isinstance(data.evaluation, SplitProblems) or source not in (
        data.evaluation,
        data.train,
    ):
        return whole(source, resolve)
    train, evaluation = _split(whole(data.train, resolve), data.evaluation.share, data.train.seed)
    return evaluation if source == data.evaluation else train


def preview(
    path: Path, columns: Columns, count: int = 10, format: str = "auto", split: str | None = None
) -> list[Problem]:
    """The first problems of a file, read without the rest. An empty question or answer is shown as
    such, not refused.
    """
    return [
        problem_of(row, columns, path.name)
        for row in islice(files.rows(path, format, split), count)
    ]


def survey(source: FileProblems, path: Path) -> Survey:
    """Read a file of any size once and keep none of it but the names of its problems. Raises
    ProblemError as `load` does.
    """
    digest, read, kept = hashlib.sha256(), 0, 0
    columns = _columns(source, path)

    def complete() -> Iterator[Numbered]:
        nonlocal read
        for numbered in _complete(_numbered(source, columns, path), path.name):
            read += 1
            yield numbered

    for _, problem in selection.without_repeats(complete(), named=columns.id is not None):
        digest.update(_line(problem))
        kept += 1
    if not kept:
        raise ProblemError(
            f"{path.name} has no rows after its header; it needs one for each problem"
        )
    return Survey(kept, digest.hexdigest(), read - kept)


def problem_set(problems: Iterable[Problem], notes: Iterable[str] = ()) -> ProblemSet:
    items = tuple(problems)
    digest = hashlib.sha256()
    for problem in items:
        digest.update(_line(problem))
    return ProblemSet(items, digest.hexdigest(), tuple(notes))


def _line(problem: Problem) -> bytes:
    return json.dumps(astuple(problem), ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def whole(source: EvalProblems, resolve: Resolve = locate) -> ProblemSet:
    """Every problem of one source by itself. Raises ProblemError."""
    if isinstance(source, ArithmeticProblems):
        return problem_set(
            arithmetic.make(source.families, source.levels, source.count, source.seed)
        )
    if isinstance(source, FileProblems):
        return _from_file(source, resolve(source.path))
    raise ProblemError("only evaluation problems can be a held-out share of the training problems")


def _from_file(source: FileProblems, path: Path) -> ProblemSet:
    columns = _columns(source, path)
    found = _complete(_numbered(source, columns, path), path.name)
    chosen = (
        selection.sampled(found, source.limit, source.seed)
        if source.limit
        else _counted(found, path.name)
    )
    kept = [
        problem for _, problem in selection.without_repeats(chosen, named=columns.id is not None)
    ]
    if not kept:
        raise ProblemError(
            f"{path.name} has no rows after its header; it needs one for each problem"
        )
    repeats = len(chosen) - len(kept)
    return problem_set(
        kept, [f"{repeats} repeated problems of {path.name} were left out"] if repeats else []
    )


def _columns(source: FileProblems, path: Path) -> Columns:
    """The mapping: as named, or told from the names in the file."""
    if source.shape == "columns":
        return source.columns
    found = inspect(path, split=source.split)
    for role in ("question", "answer"):
        if not found.guess[role]:
            known = ", ".join(f"“{column}”" for column in found.columns[:NAMED])
            raise ProblemError(
                f"no column of {path.name} has a name for the {role} (it has {known}); set shape to columns and name it"
            )
    return Columns(**{role: column for role, column in found.guess.items() if column})


def _numbered(source: FileProblems, columns: Columns, path: Path) -> Iterator[Numbered]:
    groups: dict[str, set[str]] = {"domain": set(), "difficulty": set()}
    for row in files.rows(path, source.format, source.split):
        problem = problem_of(row, columns, path.name)
        for role, values in groups.items():
            values.add(getattr(problem, role))
            if len(values) > MOST_GROUPS:
                raise ProblemError(
                    f"the {role} column of {path.name} has more than {MOST_GROUPS} different values; "
                    "it groups the pass rates, so map a column with few values or none"
                )
        yield row.number, problem


def _complete(problems: Iterable[Numbered], name: str) -> Iterator[Numbered]:
    """Pass complete problems. Raises ProblemError naming the rows without question or answer, at
    the latest after the last row.
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
            raise ProblemError(_gaps(role, rows, name))


def _gaps(role: str, rows: list[int], name: str) -> str:
    named = ", ".join(map(str, rows)) + (" and perhaps more" if len(rows) == NAMED else "")
    subject, verb = ("row", "has") if len(rows) == 1 else ("rows", "have")
    return f"{subject} {named} of {name} {verb} no {role}; fill it in or remove the {subject}"


def _counted(problems: Iterator[Numbered], name: str) -> list[Numbered]:
    found = list(islice(problems, MOST + 1))
    if len(found) > MOST:
        raise ProblemError(
            f"{name} has more than {MOST:,} problems; set a limit to use a part of them"
        )
    return found


def _split(everything: ProblemSet, share: float, seed: int) -> tuple[ProblemSet, ProblemSet]:
    kept, held_out = selection.split(everything.items, share, seed)
    if not kept or not held_out:
        empty = "training" if not kept else "evaluation"
        raise ProblemError(
            f"holding out {share:g} of {len(everything)} problems leaves none for {empty}; change the share or add problems"
        )
    return problem_set(kept, everything.notes), problem_set(held_out)
