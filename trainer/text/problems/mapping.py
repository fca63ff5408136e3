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
from trainer.text.problems.benchmarks import letter_of_place, multiple_choice
from trainer.text.problems.records import Problem, ProblemError, Row

LONGEST_TEXT = 100_000  # characters
# Characters of the name of a problem or of a group of problems.
LONGEST_NAME = 64
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
    # Reversed, so that of columns that differ only in case the first one is taken.
    lower = {column.lower(): column for column in reversed(columns)}
    column_by_role = {
        role: next((lower[name] for name in names if name in lower), None)
        for role, names in GUESSES.items()
    }
    return {
        **column_by_role,
        # "solution" is also a guess for the answer; one column cannot be both.
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
        if column is not None and role not in ("choices", "choice_answers")
    }
    answer, solution = _gsm8k(texts["answer"], texts.get("solution", ""))
    question = texts["question"].strip()
    if columns.choices is not None:
        where = f"row {row.number} of {name}"
        choices = _value(row, columns.choices, where)
        listed, answer = multiple_choice(question, choices, answer, where, columns.choice_answers)
        question = _checked(listed, columns.choices, where)
    elif columns.choice_answers in ("from_0", "from_1"):
        # The choices are written in the question.
        answer = letter_of_place(answer, columns.choice_answers)
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


def choice_pair(row: Row, columns: Columns, name: str) -> tuple[Any, str]:
    """The choices of a row and its answer, for deciding how the file names the right choice."""
    where = f"row {row.number} of {name}"
    return _value(row, columns.choices or "", where), _text(row, columns.answer, name)


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
    # Commas between thousands only: `1,234` becomes `1234`.
    short = re.sub(r"(?<=\d),(?=\d{3})", "", match["answer"].strip())
    return short, solution.strip() or match["solution"].strip()


def _text(row: Row, column: str, name: str) -> str:
    where = f"row {row.number} of {name}"
    value = _value(row, column, where)
    if isinstance(value, dict | list | bytes):
        raise ProblemError(
            f"column “{column}” in {where} holds a list or a group of values; "
            "choose a column of text or numbers"
        )
    # Tables export a missing value as NaN.
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return _checked(str(value), column, where)


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
    # Postgres stores neither half of a surrogate pair nor a NUL.
    try:
        storable = b"\0" not in value.encode()
    except UnicodeEncodeError:
        storable = False
    if not storable:
        raise ProblemError(
            f"column “{column}” in {where} holds a broken Unicode character or a NUL; remove it"
        )
    return value
