"""What the teachers make of a round's rows: one pass of each teacher over its rows, without a
gradient.

Only the hidden states are kept, because logits over a vocabulary are a hundred times larger; the
objectives apply the teacher's head to a few tokens at a time. A teacher reads its own context
(`teacher_prompt`) and then the same completion ids as the student. Shapes: T tokens of a row, H
hidden of the teacher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainer.text.language.heads import Head
from trainer.text.objectives.batch import micro_batches
from trainer.text.objectives.linear_divergence import TeacherLogits
from trainer.text.rollouts.records import TrainRow
from trainer.text.teachers import Teachers


@dataclass(frozen=True)
class TeacherStates:
    """`hidden` [T, H] by the place of the row in its round; `heads` by the teacher's name."""

    vocabulary: int
    rows: Sequence[TrainRow]
    hidden: Mapping[int, Tensor] = field(default_factory=dict)
    heads: Mapping[str, Head] = field(default_factory=dict)

    def logits(self, places: Sequence[int], wanted_T: Tensor) -> TeacherLogits:
        """The teacher's logits at the wanted tokens of the rows at `places`, which share one
        teacher.
        """
        head = self.heads[self.rows[places[0]].teacher]
        hidden_KH = torch.cat([self.hidden[place] for place in places])[wanted_T]
        return lambda tokens: head.logits(hidden_KH[tokens], self.vocabulary)


def compute_teacher_states(
    teachers: Teachers, rows: Sequence[TrainRow], tokens: int, places: Sequence[int] | None = None
) -> TeacherStates:
    """Let every teacher read its rows among those at `places` (default: all), `tokens` ids at a
    time.
    """
    wanted = range(len(rows)) if places is None else places
    hidden: dict[int, Tensor] = {}
    heads: dict[str, Head] = {}
    for view in teachers.views:
        own = [place for place in wanted if rows[place].teacher == view.name]
        read = [(rows[place].teacher_prompt, rows[place].answer.ids) for place in own]
        for chosen in micro_batches(read, tokens):
            parts = view.hidden([read[at] for at in chosen]).split(
                [len(read[at][1]) for at in chosen]
            )
            hidden |= {own[at]: part for at, part in zip(chosen, parts, strict=True)}
        if own:
            heads[view.name] = view.head
    return TeacherStates(teachers.vocabulary, rows, hidden, heads)
