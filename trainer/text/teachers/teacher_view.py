"""A teacher whose network is loaded here: its prompt and its states for a student's answer.

Shapes: rows are (prompt ids, completion ids) with ΣT completion tokens in all; H hidden of the
teacher.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor

from trainer.spec.networks import Context
from trainer.text.language.heads import Head, head_of
from trainer.text.language.hidden_states import Row, response_hidden
from trainer.text.language.models import LanguageModel
from trainer.text.rollouts.questions import Question
from trainer.text.teachers.contexts import PromptFormatter, privileged_text
from trainer.text.teachers.snapshots import Weights

# Prompts cached per teacher.
REMEMBERED_PROMPTS = 1 << 14


@dataclass(frozen=True, eq=False)
class TeacherView:
    """A teacher with its own weights, context and prompt format.

    `longest` is the longest answer that it reads, in tokens. `gives_probabilities` is False where
    its tokenizer differs from the student's: then only its texts can be learnt. Its head must be
    copied where it is sharded, because shards are gathered only during computation, and where a
    round has several updates of the weights that it shares.
    """

    name: str
    language_model: LanguageModel
    context: Context
    weights: Weights
    longest: int
    gives_probabilities: bool = True
    head_must_be_copied: bool = False

    def prompt(
        self, question: Question, privileged: str | None = None, note: str = ""
    ) -> tuple[int, ...]:
        """Ids of the teacher's prompt, after which a completion's ids follow.

        `privileged` is the privileged text (default: that of the problem itself), `note` a
        paragraph after it that is never shortened. Raises ModelError if question and longest answer
        do not fit the teacher even without privileged text.
        """
        return self._cached_prompt(
            question,
            privileged_text(self.context, question.problem) if privileged is None else privileged,
            note,
        )

    @torch.no_grad()
    def hidden(self, rows: Sequence[Row]) -> Tensor:
        """States [ΣT, H] that predict the completions' tokens, row by row; no gradient."""
        with self.in_place():
            return response_hidden(self.language_model, rows)

    @property
    def head(self) -> Head:
        """The teacher's last layer, detached; valid outside `in_place` until the next update.

        Read it at the same time as `hidden`.
        """
        with self.in_place():
            weight, bias = head_of(self.language_model.model)
            return Head(self._detached(weight), None if bias is None else self._detached(bias))

    def in_place(self) -> AbstractContextManager[None]:
        """Inside the block `language_model` has this teacher's weights, for instance to sample."""
        return self.weights.in_place()

    def _detached(self, parameter: Tensor) -> Tensor:
        return parameter.detach().clone() if self.head_must_be_copied else parameter.detach()

    @cached_property
    def _cached_prompt(self) -> Callable[[Question, str, str], tuple[int, ...]]:
        """The formatter with a cache.

        A step asks about the same problems again, and formatting takes a tenth of a small step.
        """
        # Made per view: a cache on the method itself would keep every teacher's network in memory.
        return lru_cache(REMEMBERED_PROMPTS)(self.formatter.prompt)

    @cached_property
    def formatter(self) -> PromptFormatter:
        return PromptFormatter(self.language_model, self.context, self.longest)
