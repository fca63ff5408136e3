"""Hidden states of the teachers for a round's rows: one pass per teacher, without gradient.

Only hidden states are stored, because logits over a vocabulary are about a hundred times larger;
the objectives apply the teacher's head to a few tokens at a time. A teacher reads its own context
(`teacher_prompt`), then the same completion ids as the student.

Shapes: T tokens of a row, H hidden of the teacher.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from trainer.text.language.heads import Head
from trainer.text.language.hidden_states import micro_batches
from trainer.text.lm_head.chunks import chunks, tokens_per_chunk
from trainer.text.lm_head.linear_divergence import TeacherLogits
from trainer.text.objectives.divergences import at_least_float32
from trainer.text.rollouts.records import TrainRow
from trainer.text.teachers.loading import Teachers


@dataclass(frozen=True)
class TeacherStates:
    """`hidden` [T, H] by the row's index in its round; `heads` by the teacher's name."""

    vocabulary: int
    rows: Sequence[TrainRow]
    hidden: Mapping[int, Tensor] = field(default_factory=dict)
    heads: Mapping[str, Head] = field(default_factory=dict)

    def logits(self, indices: Sequence[int], selected_T: Tensor) -> TeacherLogits:
        """Return the teacher's logits at the selected tokens of the rows at `indices`.

        All of these rows must have the same teacher.
        """
        head = self.heads[self.rows[indices[0]].teacher]
        hidden_KH = torch.cat([self.hidden[index] for index in indices])[selected_T]
        return lambda tokens: head.logits(hidden_KH[tokens], self.vocabulary)

    @torch.no_grad()
    def logprobs(self, index: int, temperature: float) -> Tensor:
        """Return the teacher's log-probs [T] of the tokens of the row at `index`, in float32.

        The only thing that is asked of a teacher where no divergence is computed.
        """
        ids_T = torch.tensor(self.rows[index].answer.ids)
        logits = self.logits([index], torch.ones(len(ids_T), dtype=torch.bool))
        logprobs = []
        for tokens in chunks(len(ids_T), tokens_per_chunk(self.vocabulary)):
            logits_CV = logits(tokens)
            logits_CV = logits_CV.to(at_least_float32(logits_CV.dtype)) / temperature
            ids_C = ids_T[tokens].to(logits_CV.device)
            logprobs.append(logits_CV.log_softmax(-1).gather(1, ids_C[:, None])[:, 0])
        return torch.cat(logprobs).float().cpu()


def compute_teacher_states(
    teachers: Teachers, rows: Sequence[TrainRow], tokens: int, indices: Sequence[int] | None = None
) -> TeacherStates:
    """Run each teacher over its rows among `indices` (default: all), `tokens` ids at a time."""
    row_indices = range(len(rows)) if indices is None else indices
    hidden: dict[int, Tensor] = {}
    heads: dict[str, Head] = {}
    for view in teachers.views:
        view_rows = [index for index in row_indices if rows[index].teacher == view.name]
        texts = [(rows[index].teacher_prompt, rows[index].answer.ids) for index in view_rows]
        for batch in micro_batches(texts, tokens):
            states = view.hidden([texts[position] for position in batch]).split(
                [len(texts[position][1]) for position in batch]
            )
            hidden |= {
                view_rows[position]: state for position, state in zip(batch, states, strict=True)
            }
        if view_rows:
            # Read now, while the teacher's weights are those that computed the states.
            heads[view.name] = view.head
    return TeacherStates(teachers.vocabulary, rows, hidden, heads)
