"""Teacher answers read from a file, matched with problems by question, ignoring white space."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.spec import TextTeacher
from trainer.text.problems import Problem, ProblemError, files, locate
from trainer.text.problems.records import Row


def texts_for(teacher: TextTeacher, problems: Sequence[Problem]) -> list[str]:
    """The file's first answer to each problem. Raises ProblemError if one is missing."""
    path = locate(teacher.path)
    answer_by_question: dict[str, str] = {}
    for row in files.rows(path):
        question, response = (
            _text(row, column, path.name) for column in (teacher.question, teacher.response)
        )
        if response.strip():
            answer_by_question.setdefault(_key(question), response)
    unanswered = [
        problem for problem in problems if _key(problem.question) not in answer_by_question
    ]
    if unanswered:
        first = unanswered[0].question
        excerpt = first if len(first) <= 60 else f"{first[:60]}…"
        raise ProblemError(
            f"{path.name} has no answer to {len(unanswered)} of {len(problems)} training "
            "problems, the first of which asks "
            f"“{excerpt}”; add them to the file, check "
            "networks.teacher.question, or train on the other problems alone"
        )
    return [answer_by_question[_key(problem.question)] for problem in problems]


def _text(row: Row, column: str, name: str) -> str:
    value = row.values.get(column)
    if isinstance(value, str):
        return value
    column_names = ", ".join(f"“{key}”" for key in list(row.values)[:20])
    raise ProblemError(
        f"row {row.number} of {name} has no text in column “{column}”; its columns are "
        f"{column_names or 'none'}"
    )


def _key(question: str) -> str:
    return " ".join(question.split())
