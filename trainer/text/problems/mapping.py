"""From a row of a data file to a problem, by the column mapping.

GSM8K writes `worked solution … #### 1,234` into one column: the answer is what follows `####`, the
rest is the solution.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from typing import Any

from trainer.spec import Columns
from trainer.text.problems.benchmarks import multiple_choice
from trainer.text.problems.records import Problem, ProblemError, Row

LONGEST_TEXT = 100_000  # characters
LONGEST_NAME = 64  # characters of the name of a problem or of a group of problems
GSM8K = re.compile(
    r"(?P<solution>.*)^\s*####[ \t]*(?P<answer>[^\n]*?)\s*\Z", re.DOTALL | re.MULTILINE
)
GUESSES = {
    "question": ("question", "problem", "prompt", "input", "instruction", "query"),
    "answer": (
        "answer",
        "final_answer",
        "expected_answer",
        "answerkey",
        "target",
        "label",
        "output",
        "solution",
    ),
    "choices": ("choices", "options"),
    "solution": ("solution", "rationale", "explanation", "reasoning"),
    "id": ("id", "unique_id", "uid", "problem_id", "key"),
    "domain": ("domain", "subject", "category", "topic", "type", "family"),
    "difficulty": ("difficulty", "level", "grade"),
}


def guess(columns: Sequence[str]) -> dict[str, str | None]:
    """A first mapping for a file with these columns: role → column, or None if no name fits."""
    lower = {column.lower(): column for column in reversed(columns)}
    column_by_role = {
        role: next((lower[name] for name in names if name in lower), None)
        for role, names in GUESSES.items()
    }
    return {
        **column_by_role,
        "solution": None
        if column_by_role["solution"] == column_by_role["answer"]
        else column_by_role["solution"],
    }


def problem_of(row: Row, columns: Columns, name: str) -> Problem:
    """The problem in a row of the file `name`.

    Raises ProblemError for a missing column or text that cannot be stored. An empty question or
    answer is allowed here, because the caller counts them.
    """
    texts = {
        role: _text(row, column, name)
        for role, column in columns
        if column is not None and role != "choices"
    }
    answer, solution = _gsm8k(texts["answer"], texts.get("solution", ""))
    question = texts["question"].strip()
    if columns.choices is not None:
        question, answer = _with_choices(row, columns.choices, question, answer, name)
    names = {
        role: _short(texts.get(role, ""), role, row, name)
        for role in ("id", "domain", "difficulty")
    }
    return Problem(
        question=question,
        answer=answer,
        solution=solution,
        **{**names, "id": names["id"] or content_id(question, answer)},
    )


def _with_choices(row: Row, column: str, question: str, answer: str, name: str) -> tuple[str, str]:
    where = f"row {row.number} of {name}"
    listed, letter = multiple_choice(question, _value(row, column, where), answer, where)
    return _checked(listed, column, where), letter


def _short(text: str, role: str, row: Row, name: str) -> str:
    """The text on one line. Raises ProblemError if it is too long to be a name."""
    line = " ".join(text.split())
    if len(line) > LONGEST_NAME:
        where = f"row {row.number} of {name}"
        raise ProblemError(
            f"the {role} in {where} has {len(line):,} characters; "
            f"at most {LONGEST_NAME} can be shown; map another column"
        )
    return line


def content_id(question: str, answer: str) -> str:
    """The id of a problem without one: the same content has the same id in every file."""
    return hashlib.sha256(f"{question}\0{answer}".encode()).hexdigest()[:16]


def _gsm8k(answer: str, solution: str) -> tuple[str, str]:
    if not (match := GSM8K.match(answer)):
        return answer.strip(), solution.strip()
    short = re.sub(r"(?<=\d),(?=\d{3})", "", match["answer"].strip())
    return short, solution.strip() or match["solution"].strip()


def _text(row: Row, column: str, name: str) -> str:
    where = f"row {row.number} of {name}"
    value = _plain(_value(row, column, where))
    if value is None:
        raise ProblemError(
            f"column “{column}” in {where} holds a list or a group of values; "
            "choose a column of text or numbers"
        )
    return _checked(value, column, where)


def _value(row: Row, column: str, where: str) -> Any:
    if column not in row.values:
        column_names = ", ".join(f"“{key}”" for key in list(row.values)[:20])
        raise ProblemError(f"{where} has no column “{column}”; it has {column_names or 'none'}")
    return row.values[column]


def _checked(value: str, column: str, where: str) -> str:
    if len(value) > LONGEST_TEXT:
        raise ProblemError(
            f"column “{column}” in {where} has {len(value):,} characters; "
            f"at most {LONGEST_TEXT:,} are read"
        )
    if not _is_clean(value):
        raise ProblemError(
            f"column “{column}” in {where} holds a broken Unicode character or a NUL; remove it"
        )
    return value


def _plain(value: Any) -> str | None:
    """The value as text; empty for null, None for a list, mapping or bytes."""
    if value is None:
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return ""  # tables export a missing value as NaN
    return None if isinstance(value, dict | list | bytes) else str(value)


def _is_clean(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
