"""A teacher whose network is loaded here: its prompt and its states for a student's answer.

Shapes: rows are (prompt ids, completion ids) with ΣT completion tokens in all; H hidden of the
teacher.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.spec.networks import Context
from trainer.text.language.heads import Head, head_of
from trainer.text.language.hidden_states import Row, micro_batches, response_hidden
from trainer.text.language.models import LanguageModel
from trainer.text.teachers.readings import Gives, HiddenReading, Reading, Unread
from trainer.text.teachers.scoring_teacher import ScoringTeacher
from trainer.text.teachers.snapshots import Weights


@dataclass(frozen=True, eq=False)
class TeacherView(ScoringTeacher):
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

    @property
    def gives(self) -> Gives:
        return "hidden_states" if self.gives_probabilities else "texts"

    def read(self, rows: Sequence[Row], tokens: int) -> list[Reading | Unread]:
        readings: dict[int, Reading] = {}
        for batch in micro_batches(rows, tokens):
            lengths = [len(rows[position][1]) for position in batch]
            states = self.hidden([rows[position] for position in batch]).split(lengths)
            readings |= zip(batch, map(HiddenReading, states), strict=True)
        return [readings[position] for position in range(len(rows))]

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
            head = head_of(self.language_model.model)
            bias = None if head.bias is None else self._detached(head.bias)
            return Head(self._detached(head.weight), bias)

    def in_place(self) -> AbstractContextManager[None]:
        """Inside the block `language_model` has this teacher's weights, for instance to sample."""
        return self.weights.in_place()

    def _detached(self, parameter: Tensor) -> Tensor:
        return parameter.detach().clone() if self.head_must_be_copied else parameter.detach()
