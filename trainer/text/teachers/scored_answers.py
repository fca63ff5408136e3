"""Scores of given answers found in a file, and what a run needs of one; imports without torch."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.spec import RunSpec, ScoresTeacher
from trainer.spec.objectives.divergence import Divergence, TopLogits
from trainer.text.language.chat import text_ids
from trainer.text.language.text_models import TextModel
from trainer.text.language.tokenizers import fingerprint
from trainer.text.problems import Problem, ProblemError, locate
from trainer.text.teachers.score_files import AnswerScores, ScoreFile, question_key

REMEDY = "score them by a job of the kind teacher scores, or train on the other problems alone"


def open_scores(teacher: ScoresTeacher) -> ScoreFile:
    """Open the teacher's file. Raises ProblemError."""
    path = locate(teacher.path)
    # A data set's own name says more than that of its file in the store.
    return ScoreFile(path, teacher.path.removeprefix("file:"))


def require_fitting(file: ScoreFile, spec: RunSpec, student: TextModel) -> None:
    """Raise ProblemError if the file is of another tokenizer, or has too few tokens for a stage."""
    if file.source.tokenizer != fingerprint(student):
        raise ProblemError(
            f"{file.name} has the scores of {file.source.model}, whose tokenizer is not that of "
            f"the student {student.name}; choose scores of a model with the student's tokenizer"
        )
    for index, stage in enumerate(spec.stages):
        objective = stage.objective
        if isinstance(objective, Divergence) and isinstance(objective.vocabulary, TopLogits):
            needed = min(objective.vocabulary.k, student.vocabulary)
            if needed > file.source.k:
                raise ProblemError(
                    f"{file.name} has the {file.source.k} likeliest tokens, but "
                    f"stages.{index}.objective.vocabulary.k is {objective.vocabulary.k}; lower it "
                    "or score the answers again with a larger k"
                )


def require_answers(
    file: ScoreFile, student: TextModel, problems: Sequence[Problem], longest: int
) -> None:
    """Raise ProblemError if the file lacks the solution, as a run cuts it, of some problems."""
    unknown = [problem for problem in problems if question_key(problem) not in file.answers]
    if unknown:
        raise ProblemError(
            f"{file.name} has no scores of {len(unknown):,} of {len(problems):,} training "
            f"problems, the first of which is {_named(unknown[0])}; {REMEDY}"
        )
    different = [
        problem
        for problem in problems
        if scores_of(file, question_key(problem), solution_ids(student, problem, longest)) is None
    ]
    if different:
        raise ProblemError(
            f"{file.name} has scores of other answers, or of shorter parts of them, to "
            f"{len(different):,} of {len(problems):,} training problems, the first of which is "
            f"{_named(different[0])}; score the present solutions, at least as many tokens "
            "(sampling.max_new_tokens) as the run trains on"
        )


def solution_ids(student: TextModel, problem: Problem, longest: int) -> tuple[int, ...]:
    """The worked solution's ids with the end token, cut to `longest`, as a stage trains on them."""
    return (*text_ids(student, problem.solution), student.eos_ids[0])[:longest]


def scores_of(file: ScoreFile, question: str, ids: tuple[int, ...]) -> AnswerScores | None:
    """Return the scores of an answer's ids, or of an answer that begins with them; else None.

    `question` is the problem's key. What follows a token does not change its scores.
    """
    for stored_ids, place in file.answers.get(question, ()):
        if stored_ids[: len(ids)] == ids:
            return file.scores(place).first(len(ids))
    return None


def _named(problem: Problem) -> str:
    question = problem.question
    excerpt = question if len(question) <= 60 else f"{question[:60]}…"
    return f"{problem.id} (“{excerpt}”)"
