"""A teacher whose probabilities of the student's tokens can be read: what all of them have.

Its network is loaded here (`teacher_view`), on a server (`served`), or its scores are stored.
Shapes: rows are (prompt ids, completion ids).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache

from trainer.spec.networks import Context
from trainer.text.language.heads import Head
from trainer.text.language.hidden_states import Row
from trainer.text.language.text_models import TextModel
from trainer.text.rollouts.questions import Question
from trainer.text.teachers.contexts import PromptFormatter, privileged_text
from trainer.text.teachers.readings import Gives, Reading, Unread

# Prompts cached per teacher.
REMEMBERED_PROMPTS = 1 << 14


class ScoringTeacher(ABC):
    """A teacher with its own context and prompt format.

    `name` is that of its rows (`TrainRow.teacher`). `language_model` has at least its tokenizer;
    `longest` is the longest answer that it reads, in tokens.
    """

    name: str
    language_model: TextModel
    context: Context
    longest: int

    @property
    @abstractmethod
    def gives(self) -> Gives:
        """What `read` returns: states, top ids, or the written token's log-prob."""

    @abstractmethod
    def read(self, rows: Sequence[Row], tokens: int) -> list[Reading | Unread]:
        """Return what is known of each row's completion, in order; no gradient.

        `tokens` ids are computed at a time where the network is loaded here.
        """

    @property
    def head(self) -> Head | None:
        """The last layer for `HiddenReading`s; read it at the same time as the rows."""
        return None

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
