"""One pass over the rows of a data file: complete problems, and a tally of what was left out.

By the choice of the mapping (`columns.unusable_rows`) a row that is no problem refuses the file or
is left out, counted and named. Names of groups are shortened to LONGEST_NAME characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from trainer.spec import Columns, FileProblems
from trainer.text.problems import column_templates, files
from trainer.text.problems.addresses import NoValueError, value_at
from trainer.text.problems.inspection import HEAD_ROWS
from trainer.text.problems.mapping import problem_of
from trainer.text.problems.records import Problem, ProblemError, Row, UnusableRowError
from trainer.text.problems.row_reader import LONGEST_SHOWN
from trainer.text.problems.selection import Numbered

# Characters of the name of a group of problems.
LONGEST_NAME = 64
MOST_GROUPS = 100
NAMED = 5
GROUPING = ("domain", "difficulty")
OPTIONAL = ("solution", "system", "history", "id", *GROUPING)

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows that were left out: `reason` completes “the row …”, `rows` are the first numbers."""

    reason: str
    count: int
    rows: tuple[int, ...]

    @property
    def sentence(self) -> str:
        """“3 rows were left out: no answer (rows 4, 7, 9)”."""
        noun, verb = ("row", "was") if self.count == 1 else ("rows", "were")
        more = ", …" if self.count > len(self.rows) else ""
        numbers = ", ".join(map(str, self.rows))
        return f"{self.count:,} {noun} {verb} left out: {self.reason} ({noun} {numbers}{more})"


class TooManyGroupsError(Exception):
    """The column of a role has too many values to group problems by."""

    def __init__(self, role: str) -> None:
        super().__init__(role)
        self.role = role


def ungrouped_if_many(
    columns: Columns, name: str, read: Callable[[Columns], Result]
) -> tuple[Result, Columns, tuple[str, ...]]:
    """What `read` returns, the mapping that it used, and notes on what was changed.

    A column with more than MOST_GROUPS values is no reason to refuse a file: it is left out of the
    mapping, and the file is read again.
    """
    notes: tuple[str, ...] = ()
    while True:
        try:
            return read(columns), columns, notes
        except TooManyGroupsError as error:
            column = getattr(columns, error.role)
            notes = (
                *notes,
                f"the {error.role} column “{column}” of {name} has more than {MOST_GROUPS} "
                "different values and is left out; pass rates are grouped by a column with few",
            )
            columns = columns.model_copy(update={error.role: None})


@dataclass
class Reading:
    """A pass over a file; what it has counted is complete when `problems` has ended."""

    source: FileProblems
    columns: Columns
    path: Path
    rows: int = 0
    _left_out: dict[str, tuple[int, tuple[int, ...]]] = field(default_factory=dict)
    # Role → short name → whole name.
    _groups: dict[str, dict[str, str]] = field(
        default_factory=lambda: {role: {} for role in GROUPING}
    )

    def problems(self) -> Iterator[Numbered]:
        """Complete problems with the numbers of their rows.

        Raises ProblemError for a row that cannot be used where the mapping refuses those, for a
        mapped column that no row has, and TooManyGroupsError. Rows without question or answer are
        named together, at the end of the file or as soon as there are many.
        """
        absent = _optional_addresses(self.columns)
        missing: dict[str, list[int]] = {"question": [], "answer": []}
        for row in files.rows(self.path, self.source.format, self.source.split):
            self.rows += 1
            absent = {named for named in absent if not _has(row, *named)}
            if (problem := self._problem(row)) is None:
                continue
            gaps = [role for role in missing if not getattr(problem, role)]
            if not gaps:
                yield row.number, self._with_group_names(problem)
            elif self.columns.unusable_rows == "leave_out":
                self.leave_out(f"no {gaps[0]}", row.number)
            else:
                for role in gaps:
                    missing[role].append(row.number)
                if max(map(len, missing.values())) == NAMED:
                    break
        else:
            self._check_absent(absent)
        _check_missing(missing, self.path.name)

    def head(self, count: int) -> list[Problem]:
        """The first problems; an empty question or answer is not refused, but may be left out."""
        rows = files.head(self.path, HEAD_ROWS, self.source.format, self.source.split)
        absent = _optional_addresses(self.columns)
        problems: list[Problem] = []
        for row in rows:
            self.rows += 1
            absent = {named for named in absent if not _has(row, *named)}
            if len(problems) == count:
                if not absent:
                    break
            elif (problem := self._problem(row)) and not self._is_left_out(problem):
                problems.append(self._with_group_names(problem))
        self._check_absent(absent)
        return problems

    def leave_out(self, reason: str, row: int) -> None:
        count, rows = self._left_out.get(reason, (0, ()))
        self._left_out[reason] = count + 1, (*rows, row)[:NAMED]

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        return tuple(LeftOut(reason, *counted) for reason, counted in self._left_out.items())

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on names that were shortened."""
        notes = []
        for role, whole_by_short in self._groups.items():
            changed = [whole for short, whole in whole_by_short.items() if short != whole]
            if changed:
                noun = "name" if len(changed) == 1 else "names"
                notes.append(
                    f"{len(changed)} {role} {noun} of {self.path.name} with more than "
                    f"{LONGEST_NAME} characters {'is' if len(changed) == 1 else 'are'} shortened, "
                    f"the first: “{changed[0][:160]}”"
                )
        return tuple(notes)

    def _problem(self, row: Row) -> Problem | None:
        try:
            return problem_of(row, self.columns, self.path.name)
        except UnusableRowError as error:
            if self.columns.unusable_rows == "refuse":
                raise
            self.leave_out(error.reason, row.number)
            return None

    def _is_left_out(self, problem: Problem) -> bool:
        is_complete = bool(problem.question and problem.answer)
        return not is_complete and self.columns.unusable_rows == "leave_out"

    def _with_group_names(self, problem: Problem) -> Problem:
        names = {role: self._group_name(role, getattr(problem, role)) for role in GROUPING}
        if all(getattr(problem, role) == name for role, name in names.items()):
            return problem
        return replace(problem, domain=names["domain"], difficulty=names["difficulty"])

    def _group_name(self, role: str, whole: str) -> str:
        whole_by_short = self._groups[role]
        number = 1
        while whole_by_short.setdefault(name := short_name(whole, number), whole) != whole:
            number += 1
        if len(whole_by_short) > MOST_GROUPS:
            raise TooManyGroupsError(role)
        return name

    def _check_absent(self, absent: set[tuple[str, str]]) -> None:
        if self.rows and absent:
            names = ", ".join(f"“{address[:LONGEST_SHOWN]}”" for _, address in sorted(absent))
            raise ProblemError(
                f"no row of {self.path.name} has a column {names}; choose another or none"
            )


def short_name(text: str, number: int = 1) -> str:
    """A text of at most LONGEST_NAME characters; a long one loses its middle.

    `number` tells names apart that would be the same without their middles.
    """
    if len(text) <= LONGEST_NAME:
        return text
    mark = "…" if number == 1 else f"…{number}…"
    kept = LONGEST_NAME - len(mark)
    return f"{text[: kept // 2]}{mark}{text[len(text) - (kept - kept // 2) :]}"


def _optional_addresses(columns: Columns) -> set[tuple[str, str]]:
    """(text of the mapping, address in it) of what a row may lack, but not all rows."""
    texts = [getattr(columns, role) for role in OPTIONAL if getattr(columns, role) is not None]
    plain = {(text, text) for text in texts if not column_templates.is_template(text)}
    return plain | {
        (text, address)
        for text in (columns.question, columns.answer, *texts)
        for address in column_templates.placeholders(text)
    }


def _has(row: Row, text: str, address: str) -> bool:
    try:
        value_at(row.values, address)
    except NoValueError:
        # Braces may be part of the name of a column.
        return text in row.values
    return True


def _check_missing(missing: dict[str, list[int]], name: str) -> None:
    for role, rows in missing.items():
        if rows:
            more = " and perhaps more" if len(rows) == NAMED else ""
            subject, verb = ("row", "has") if len(rows) == 1 else ("rows", "have")
            raise ProblemError(
                f"{subject} {', '.join(map(str, rows))}{more} of {name} {verb} no {role}; "
                f"fill it in, remove the {subject}, or set unusable rows to leave out"
            )
