"""Teacher answers read from a file, matched with problems by question, ignoring white space.

The columns are named by addresses, as those of problems; of a list of messages the question is the
user's last one, with the turns before it, and the response is the reply.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainer.spec import Columns, TextTeacher
from trainer.text.problems import Problem, ProblemError, files, locate
from trainer.text.problems.mapping import asked_and_answer


def texts_for(teacher: TextTeacher, problems: Sequence[Problem], most: int = 1) -> list[list[str]]:
    """The file's first answers to each problem, at most `most` of different wording.

    Raises ProblemError if a problem has none.
    """
    path = locate(teacher.path)
    answers_by_question: dict[str, list[str]] = {}
    columns = _columns(teacher)
    for row in files.rows(path):
        question, response = asked_and_answer(row, columns, path.name)
        if response.strip():
            answers = answers_by_question.setdefault(_key(question), [])
            if len(answers) < most and response not in answers:
                answers.append(response)
    unanswered = [problem for problem in problems if _key(problem.asked) not in answers_by_question]
    if unanswered:
        first = unanswered[0].question
        excerpt = first if len(first) <= 60 else f"{first[:60]}…"
        raise ProblemError(
            f"{path.name} has no answer to {len(unanswered)} of {len(problems)} training "
            "problems, the first of which asks "
            f"“{excerpt}”; add them to the file, check "
            "networks.teacher.question, or train on the other problems alone"
        )
    return [answers_by_question[_key(problem.asked)] for problem in problems]


def pairs_for(
    teacher: TextTeacher, problems: Sequence[Problem], most: int
) -> list[list[tuple[str, str]]]:
    """The (chosen, rejected) texts of the file's first rows for each problem, at most `most`.

    Raises ProblemError if the file has no rejected column.
    """
    path = locate(teacher.path)
    columns = _columns(teacher)
    rejected_columns = columns.model_copy(update={"answer": teacher.rejected})
    pairs_by_question: dict[str, list[tuple[str, str]]] = {
        _key(problem.asked): [] for problem in problems
    }
    for row in files.rows(path):
        question, chosen = asked_and_answer(row, columns, path.name)
        pairs = pairs_by_question.get(_key(question))
        if pairs is not None and len(pairs) < most:
            pairs.append((chosen, asked_and_answer(row, rejected_columns, path.name)[1]))
    return [pairs_by_question[_key(problem.asked)] for problem in problems]


def _columns(teacher: TextTeacher) -> Columns:
    return Columns(question=teacher.question, answer=teacher.response, history=teacher.history)


def _key(question: str) -> str:
    return " ".join(question.split())
