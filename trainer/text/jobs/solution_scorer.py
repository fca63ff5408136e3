"""Scores of worked solutions: what a model says of each of their tokens, and its likeliest ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.engine.outcome import Failure
from trainer.text.calibration.codec import Codec
from trainer.text.jobs.answer_writers import AnswerLine
from trainer.text.language.chat import text_ids
from trainer.text.language.heads import Head
from trainer.text.language.hidden_states import Row
from trainer.text.language.text_models import TextModel
from trainer.text.language.tokenizers import fingerprint
from trainer.text.lm_head.chunks import chunks, tokens_per_chunk
from trainer.text.problems import Problem, ProblemError
from trainer.text.rollouts.questions import encoded
from trainer.text.teachers.contexts import require_privileged
from trainer.text.teachers.readings import HiddenReading, Reading, TopReading, Unread
from trainer.text.teachers.score_files import AnswerScores
from trainer.text.teachers.scoring_teacher import ScoringTeacher

# Ids that are read at a time. A solution's scores do not depend on what is read with it, except
# for rounding.
TOKENS = 8192


@dataclass(frozen=True)
class SolutionScorer:
    """Reads the solutions as a teacher reads answers: after its own prompt, token by token.

    A solution ends with the model's end token and is cut to the teacher's longest answer, as in a
    run.
    """

    teacher: ScoringTeacher
    template: str
    codec: Codec | None
    k: int

    def answers(self, problems: Sequence[Problem]) -> list[list[AnswerLine]]:
        """The scored solution of each problem (`tallies`).

        Raises ProblemError where one has no solution, or lacks the text that the model is shown,
        and Failure where a server does not score one.
        """
        _require_solutions(problems)
        require_privileged(self.teacher.context, problems)
        longest = self.teacher.longest
        solutions = [self._solution(problem) for problem in problems]
        rows = [
            (self._prompt(problem), ids[:longest])
            for problem, ids in zip(problems, solutions, strict=True)
        ]
        return [
            [self._line(problem, len(solution) > longest, scores)]
            for problem, solution, scores in zip(
                problems, solutions, self._scores(rows), strict=True
            )
        ]

    def _line(self, problem: Problem, truncated: bool, scores: AnswerScores) -> AnswerLine:
        return {
            "verdict": None,
            "truncated": truncated,
            "tokens": len(scores.ids),
            "read": "",
            "text": problem.solution,
            "tokenizer": self._tokenizer,
            "scores": scores.to_json(),
        }

    @property
    def _model(self) -> TextModel:
        return self.teacher.language_model

    def _solution(self, problem: Problem) -> tuple[int, ...]:
        return (*text_ids(self._model, problem.solution), self._model.eos_ids[0])

    def _prompt(self, problem: Problem) -> tuple[int, ...]:
        return self.teacher.prompt(encoded(self._model, self.template, problem, self.codec))

    @cached_property
    def _tokenizer(self) -> str:
        return fingerprint(self._model)

    @torch.no_grad()
    def _scores(self, rows: Sequence[Row]) -> list[AnswerScores]:
        readings = self.teacher.read(rows, TOKENS)
        return [
            self._scores_of_row(torch.tensor(ids), reading)
            for (_, ids), reading in zip(rows, readings, strict=True)
        ]

    def _scores_of_row(self, ids_T: Tensor, reading: Reading | Unread) -> AnswerScores:
        if isinstance(reading, HiddenReading):
            head = self.teacher.head
            assert head is not None
            ids_T = ids_T.to(reading.hidden.device)
            return scores_of(reading.hidden, head, ids_T, self.k, self._model.vocabulary)
        if isinstance(reading, TopReading):
            return top_scores(reading, ids_T, self.k)
        reason = reading.reason if isinstance(reading, Unread) else "it gives no likeliest tokens"
        raise Failure(
            f"The model has not scored a solution: {reason}.",
            "Correct the cause and start the job again.",
        )


def top_scores(reading: TopReading, ids_T: Tensor, k: int) -> AnswerScores:
    """Return the scores of an answer's ids from its likeliest ids, of which there are k or more."""
    logprobs, order = reading.logprobs.float().topk(k)
    tail = (1 - logprobs.double().exp().sum(-1)).clamp_min(0)
    top_ids = reading.ids.gather(1, order)
    return AnswerScores(
        _integers(ids_T),
        _floats(reading.written),
        _integers(top_ids),
        _floats(logprobs),
        _floats(tail),
    )


def scores_of(
    hidden_TH: Tensor, head: Head, ids_T: Tensor, k: int, vocabulary: int
) -> AnswerScores:
    """Return the scores of an answer's ids from the states that predict them."""
    parts: list[tuple[Tensor, ...]] = []
    for tokens in chunks(len(ids_T), tokens_per_chunk(vocabulary)):
        log_TV = head.logits(hidden_TH[tokens], vocabulary).float().log_softmax(-1)
        written = log_TV.gather(1, ids_T[tokens, None])[:, 0]
        top_logprobs, top_ids = log_TV.topk(min(k, vocabulary))
        # A sum of the others: 1 less the sum of the likeliest would lose a small tail to rounding.
        tail = log_TV.scatter(1, top_ids, -torch.inf).double().exp().sum(-1)
        parts.append((written, top_ids, top_logprobs, tail))
    written, top_ids, top_logprobs, tail = map(torch.cat, zip(*parts, strict=True))
    return AnswerScores(
        _integers(ids_T), _floats(written), _integers(top_ids), _floats(top_logprobs), _floats(tail)
    )


def _require_solutions(problems: Sequence[Problem]) -> None:
    without = [problem.id for problem in problems if not problem.solution.strip()]
    if without:
        raise ProblemError(
            f"{len(without)} of {len(problems)} problems that are scored together (the first is "
            f"{without[0]}) have no worked solution; map problems.columns.solution to the column "
            "of the answers and fill the gaps"
        )


def _integers(tensor: Tensor) -> NDArray[np.int32]:
    return tensor.to("cpu", torch.int32).numpy()


def _floats(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.to("cpu", torch.float32).numpy()
