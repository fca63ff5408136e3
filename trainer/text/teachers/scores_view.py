"""A teacher of a run whose scores are in a file: it reads rows by looking them up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from trainer.spec import Context, PlainContext, RunSpec, ScoresTeacher
from trainer.text.language.hidden_states import Row
from trainer.text.language.models import LanguageModel
from trainer.text.problems import Problem
from trainer.text.rollouts.questions import Question
from trainer.text.teachers.readings import Gives, Reading, TopReading, Unread
from trainer.text.teachers.score_files import AnswerScores, ScoreFile, question_key
from trainer.text.teachers.scored_answers import (
    open_scores,
    require_answers,
    require_fitting,
    scores_of,
)
from trainer.text.teachers.scoring_teacher import ScoringTeacher


@dataclass(eq=False)
class ScoresView(ScoringTeacher):
    """Scores of given answers by problem and token ids.

    `language_model` is the student, whose tokenizer is that of the scores. The prompts that it
    formats are no one's: they tell the problems of rows apart.
    """

    name: str
    language_model: LanguageModel
    longest: int
    file: ScoreFile
    device: torch.device
    context: Context = field(default_factory=PlainContext)
    _question_by_prompt: dict[tuple[int, ...], str] = field(default_factory=dict)

    @property
    def gives(self) -> Gives:
        return "top_k"

    def prompt(
        self, question: Question, privileged: str | None = None, note: str = ""
    ) -> tuple[int, ...]:
        ids = super().prompt(question, privileged, note)
        self._question_by_prompt[ids] = question_key(question.problem)
        return ids

    def read(self, rows: Sequence[Row], tokens: int) -> list[Reading | Unread]:
        return [self._read(*row) for row in rows]

    def require_answers(self, problems: Sequence[Problem]) -> None:
        """Raise ProblemError if the solution of a problem has no scores."""
        require_answers(self.file, self.language_model, problems, self.longest)

    def _read(self, prompt: Sequence[int], ids: Sequence[int]) -> Reading | Unread:
        scores = scores_of(self.file, self._question_by_prompt[tuple(prompt)], tuple(ids))
        if scores is None:
            return Unread(f"{self.file.name} has no scores of it")
        return self._reading(scores)

    def _reading(self, scores: AnswerScores) -> TopReading:
        columns = (scores.top_ids.astype("int64"), scores.top_logprobs, scores.logprobs)
        return TopReading(*(torch.from_numpy(column.copy()).to(self.device) for column in columns))


def open_scores_view(
    name: str,
    teacher: ScoresTeacher,
    spec: RunSpec,
    student: LanguageModel,
    longest: int,
    device: torch.device,
) -> ScoresView:
    """Return the teacher of a file that fits the run. Raises ProblemError."""
    file = open_scores(teacher)
    require_fitting(file, spec, student)
    return ScoresView(name, student, longest, file, device)
