"""Scores of worked solutions: what a model says of each of their tokens, and its likeliest ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.spec import Context
from trainer.text.calibration.codec import Codec
from trainer.text.jobs.answer_writers import AnswerLine
from trainer.text.language.chat import text_ids
from trainer.text.language.heads import Head, head_of
from trainer.text.language.hidden_states import Row, micro_batches, response_hidden
from trainer.text.language.models import LanguageModel
from trainer.text.language.tokenizers import fingerprint
from trainer.text.lm_head.chunks import chunks, tokens_per_chunk
from trainer.text.problems import Problem, ProblemError
from trainer.text.rollouts.questions import Question, encoded
from trainer.text.teachers.contexts import PromptFormatter, privileged_text, require_privileged
from trainer.text.teachers.score_files import AnswerScores

# Ids that are read at a time. A solution's scores do not depend on what is read with it, except
# for rounding.
TOKENS = 8192


@dataclass(frozen=True)
class SolutionScorer:
    """Reads the solutions as a teacher reads answers: after its own prompt, token by token.

    A solution ends with the model's end token and is cut to `longest` tokens, as in a run.
    """

    language_model: LanguageModel
    context: Context
    template: str
    codec: Codec | None
    longest: int
    k: int

    def answers(self, problems: Sequence[Problem]) -> list[list[AnswerLine]]:
        """The scored solution of each problem (`tallies`).

        Raises ProblemError where one has no solution, or lacks the text that the model is shown.
        """
        _require_solutions(problems)
        require_privileged(self.context, problems)
        solutions = [self._solution(problem) for problem in problems]
        rows = [
            (self._prompt(problem), ids[: self.longest])
            for problem, ids in zip(problems, solutions, strict=True)
        ]
        return [
            [self._line(problem, len(solution) > self.longest, scores)]
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

    def _solution(self, problem: Problem) -> tuple[int, ...]:
        model = self.language_model
        return (*text_ids(model, problem.solution), model.eos_ids[0])

    def _prompt(self, problem: Problem) -> tuple[int, ...]:
        question: Question = encoded(self.language_model, self.template, problem, self.codec)
        return self._formatter.prompt(question, privileged_text(self.context, problem))

    @cached_property
    def _formatter(self) -> PromptFormatter:
        return PromptFormatter(self.language_model, self.context, self.longest)

    @cached_property
    def _tokenizer(self) -> str:
        return fingerprint(self.language_model)

    @torch.no_grad()
    def _scores(self, rows: Sequence[Row]) -> list[AnswerScores]:
        model = self.language_model
        scores: dict[int, AnswerScores] = {}
        for batch in micro_batches(rows, TOKENS):
            lengths = [len(rows[position][1]) for position in batch]
            states = response_hidden(model, [rows[position] for position in batch]).split(lengths)
            for position, hidden_TH in zip(batch, states, strict=True):
                ids = torch.tensor(rows[position][1], device=hidden_TH.device)
                scores[position] = scores_of(
                    hidden_TH, head_of(model.model), ids, self.k, model.vocabulary
                )
        return [scores[position] for position in range(len(rows))]


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
