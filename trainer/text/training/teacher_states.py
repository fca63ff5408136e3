"""What is known of the teachers for a round's rows: each teacher reads its rows once, no gradient.

A teacher reads its own context (`teacher_prompt`), then the same completion ids as the student. Of
a network only hidden states are stored, because logits over a vocabulary are about a hundred times
larger; the objectives apply the teacher's head to a few tokens at a time. A served teacher may give
less (`teachers.readings`).

Shapes: T tokens of a row, ΣT those of several rows one after the other, H hidden of the teacher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainer.text.language.heads import Head
from trainer.text.lm_head.chunks import chunks, tokens_per_chunk
from trainer.text.lm_head.linear_divergence import TeacherLogits
from trainer.text.objectives.divergences import log_softmax
from trainer.text.rollouts.records import TrainRow
from trainer.text.teachers.loading import Teachers
from trainer.text.teachers.readings import (
    HiddenReading,
    Reading,
    TopReading,
    Unread,
    top_logits,
)


@dataclass(frozen=True)
class TeacherStates:
    """`readings` by the row's index in its round; `heads` by the teacher's name.

    `unread` has the reasons by the row's index where a teacher could not read a row: it has no
    reading, and no token of it may be trained on.
    """

    vocabulary: int
    rows: Sequence[TrainRow]
    readings: Mapping[int, Reading] = field(default_factory=dict)
    heads: Mapping[str, Head] = field(default_factory=dict)
    unread: Mapping[int, str] = field(default_factory=dict)

    def logits(self, indices: Sequence[int], selected_T: Tensor) -> TeacherLogits:
        """Return the teacher's logits at the selected tokens of the rows at `indices`.

        All of these rows must have the same teacher, and it must give hidden states, or top ids
        where the objective compares no more than those.
        """
        readings = [self.readings[index] for index in indices]
        if isinstance(readings[0], TopReading):
            return self._top_logits(indices, selected_T)
        head = self.heads[self.rows[indices[0]].teacher]
        hidden_KH = torch.cat([_hidden(reading) for reading in readings])[selected_T]
        return lambda tokens: head.logits(hidden_KH[tokens], self.vocabulary)

    def gives_distribution(self, index: int) -> bool:
        """Whether the teacher's whole distribution is known for the row at `index`."""
        return isinstance(self.readings.get(index), HiddenReading)

    @torch.no_grad()
    def logprobs(self, index: int, temperature: float = 1.0) -> Tensor:
        """Return the teacher's log-probs [T] of the tokens of the row at `index`, float32, CPU.

        They are over the whole vocabulary; 0 for a row that was not read. A teacher that gives no
        hidden states knows them at temperature 1 alone: raises ValueError for others.
        """
        ids_T = self._ids([index])
        if index in self.unread:
            return torch.zeros(len(ids_T))
        reading = self.readings[index]
        if not isinstance(reading, HiddenReading):
            if temperature != 1:
                raise ValueError("this teacher's log-probs are known at temperature 1 alone")
            return reading.written.float().cpu()
        ids_T = ids_T.to(reading.hidden.device)
        logits = self.logits([index], torch.ones_like(ids_T, dtype=torch.bool))
        columns = [
            log_softmax(logits(tokens), temperature).gather(1, ids_T[tokens, None])[:, 0]
            for tokens in chunks(len(ids_T), tokens_per_chunk(self.vocabulary))
        ]
        return torch.cat(columns).float().cpu()

    def _top_logits(self, indices: Sequence[int], selected_T: Tensor) -> TeacherLogits:
        readings = [self.readings[index] for index in indices]
        assert all(isinstance(reading, TopReading) for reading in readings)
        ids_K, *columns = (
            column[selected_T]
            for column in (
                self._ids(indices).to(selected_T.device),
                *(
                    torch.cat([getattr(reading, name) for reading in readings])
                    for name in ("ids", "logprobs", "written")
                ),
            )
        )
        top_ids, logprobs, written = columns
        return lambda tokens: top_logits(
            top_ids[tokens], logprobs[tokens], ids_K[tokens], written[tokens], self.vocabulary
        )

    def _ids(self, indices: Sequence[int]) -> Tensor:
        return torch.tensor([id for index in indices for id in self.rows[index].answer.ids])


def compute_teacher_states(
    teachers: Teachers, rows: Sequence[TrainRow], tokens: int, indices: Sequence[int] | None = None
) -> TeacherStates:
    """Have each teacher read its rows among `indices` (default: all), `tokens` ids at a time."""
    row_indices = range(len(rows)) if indices is None else indices
    readings: dict[int, Reading] = {}
    unread: dict[int, str] = {}
    heads: dict[str, Head] = {}
    for view in teachers.views:
        view_rows = [index for index in row_indices if rows[index].teacher == view.name]
        if not view_rows:
            continue
        texts = [(rows[index].teacher_prompt, rows[index].answer.ids) for index in view_rows]
        for index, reading in zip(view_rows, view.read(texts, tokens), strict=True):
            if isinstance(reading, Unread):
                unread[index] = reading.reason
            else:
                readings[index] = reading
        # Read now, while the teacher's weights are those that computed the states.
        if head := view.head:
            heads[view.name] = head
    return TeacherStates(teachers.vocabulary, rows, readings, heads, unread)


def _hidden(reading: Reading) -> Tensor:
    assert isinstance(reading, HiddenReading)
    return reading.hidden
