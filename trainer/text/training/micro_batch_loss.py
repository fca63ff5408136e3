"""The student's loss on a micro-batch: backbone, head and objective in one call.

One call, so that sharded parameters are gathered once for all three. A token is trained by kind: a
divergence to the teacher, a ratio or policy-gradient term, cross-entropy, or not at all. The loss
is Σ_t c_t · ℓ_t over the tokens with a coefficient other than 0; only those pass through the head.
Nothing else is normalised here.

Shapes: T tokens of a micro-batch (rows concatenated), K selected tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import torch
from torch import Tensor

from trainer.spec import CrossEntropy, Divergence, Objective
from trainer.spec.objectives.objective import Write
from trainer.text.language.heads import head_of
from trainer.text.language.hidden_states import completion_ids, response_hidden
from trainer.text.language.models import LanguageModel
from trainer.text.lm_head.linear_divergence import TokenStatistics, linear_divergence
from trainer.text.lm_head.linear_logprob import linear_logprob
from trainer.text.mechanisms import CodeError, function_of
from trainer.text.objectives.sampled_tokens import SampledTokens, TokenLoss
from trainer.text.rollouts.records import CROSS_ENTROPY, DIVERGENCE, RATIO, TrainRow
from trainer.text.training.teacher_states import TeacherStates

# Token ids are never negative, so −1 marks a token without a computed likeliest id.
UNKNOWN_ID = -1
CROSS_ENTROPY_LOSS = CrossEntropy()
# Columns that only shapers write; the objective has a value for rows without them.
SHAPED_COLUMNS = (Write.CLIP_LOW, Write.CLIP_HIGH, Write.RATIO_OFFSETS)


@dataclass(frozen=True)
class MicroBatch:
    """Rows at `indices` of a round, with the coefficients [T] of their tokens."""

    rows: Sequence[TrainRow]
    indices: Sequence[int]
    coefficients: Tensor
    states: TeacherStates

    @property
    def lengths(self) -> list[int]:
        return [len(row.answer.ids) for row in self.rows]


@dataclass(frozen=True)
class MicroBatchLoss:
    """Computes the loss of micro-batches for this student."""

    student: LanguageModel

    def __call__(
        self, batch: MicroBatch, objective: Objective, temperature: float = 1.0
    ) -> tuple[Tensor, TokenStatistics]:
        """Return the scalar loss and detached statistics [T]; NaN and −1 where not computed.

        The loss may be differentiated once. `temperature` divides the logits of tokens that are
        trained by a ratio (`Stage.logit_temperature`). For a ratio objective `capped` has the
        kind of its clip (`ClipKind`).
        """
        texts = [(row.answer.prompt, row.answer.ids) for row in batch.rows]
        hidden_TH = response_hidden(self.student, texts)
        ids_T = completion_ids(texts).to(hidden_TH.device)
        kinds_T = torch.from_numpy(np.concatenate([row.kinds for row in batch.rows])).to(
            hidden_TH.device
        )
        statistics = empty_statistics(len(ids_T), hidden_TH.device)
        # A zero that depends on the parameters: a rank without selected tokens must take part in
        # backward.
        loss = hidden_TH.sum() * 0.0
        for kind in (DIVERGENCE, RATIO, CROSS_ENTROPY):
            selected_T = (kinds_T == kind) & (batch.coefficients != 0)
            if not selected_T.any():
                continue
            if kind == DIVERGENCE:
                assert isinstance(objective, Divergence)
                term = self._divergence(hidden_TH, ids_T, selected_T, batch, objective, statistics)
            else:
                # A filter may have tokens learn by cross-entropy whatever the stage's objective is.
                own, divisor = (
                    (objective, temperature) if kind == RATIO else (CROSS_ENTROPY_LOSS, 1.0)
                )
                term = self._sampled(hidden_TH, ids_T, selected_T, batch, own, divisor, statistics)
            loss = loss + term
        return loss, statistics

    def _divergence(
        self,
        hidden_TH: Tensor,
        ids_T: Tensor,
        selected_T: Tensor,
        batch: MicroBatch,
        objective: Divergence,
        statistics: TokenStatistics,
    ) -> Tensor:
        loss, computed = linear_divergence(
            hidden_TH[selected_T],
            head_of(self.student.model),
            batch.states.logits(batch.indices, selected_T),
            batch.coefficients[selected_T],
            ids_T[selected_T],
            objective,
            vocabulary=batch.states.vocabulary,
        )
        for column in fields(TokenStatistics):
            column_T = getattr(statistics, column.name)
            column_T[selected_T] = getattr(computed, column.name).to(column_T)
        return loss

    def _sampled(
        self,
        hidden_TH: Tensor,
        ids_T: Tensor,
        selected_T: Tensor,
        batch: MicroBatch,
        objective: Objective,
        temperature: float,
        statistics: TokenStatistics,
    ) -> Tensor:
        logprob_K = self._logprob(hidden_TH, ids_T, selected_T, batch, statistics, temperature)
        lengths_N = torch.tensor(batch.lengths, device=selected_T.device)
        rows_T = torch.arange(len(lengths_N), device=selected_T.device).repeat_interleave(lengths_N)
        tokens = SampledTokens(
            logprob_K, objective, partial(_column, batch, selected_T=selected_T), rows_T[selected_T]
        )
        computed: TokenLoss = function_of(objective)(objective, tokens)
        _require_token_loss(computed, logprob_K, objective)
        if computed.clipped is not None:
            statistics.capped[selected_T] = computed.clipped.to(statistics.capped)
        return (batch.coefficients[selected_T] * computed.loss).sum()

    def _logprob(
        self,
        hidden_TH: Tensor,
        ids_T: Tensor,
        selected_T: Tensor,
        batch: MicroBatch,
        statistics: TokenStatistics,
        temperature: float,
    ) -> Tensor:
        vocabulary = batch.states.vocabulary
        head = head_of(self.student.model)
        logprob_K, entropy_K = linear_logprob(
            hidden_TH[selected_T],
            head,
            ids_T[selected_T],
            vocabulary=vocabulary,
            temperature=temperature,
        )
        statistics.student_logprob[selected_T] = logprob_K.detach().to(statistics.student_logprob)
        statistics.entropy[selected_T] = entropy_K.detach().to(statistics.entropy)
        return logprob_K


def _require_token_loss(computed: object, logprob_K: Tensor, objective: Objective) -> None:
    """Raise CodeError for a loss that would broadcast against the coefficients, or has no gradient.

    Both would go unnoticed: the loss is added to others, and its gradient is clipped.
    """
    if not isinstance(computed, TokenLoss) or computed.loss.shape != logprob_K.shape:
        shape = f" of shape {list(computed.loss.shape)}" if isinstance(computed, TokenLoss) else ""
        raise CodeError(
            f"{objective.function} returns a {type(computed).__name__}{shape}; return a TokenLoss "
            f"with one loss for each of the {len(logprob_K)} tokens"
        )
    if logprob_K.requires_grad and not computed.loss.requires_grad:
        raise CodeError(
            f"{objective.function} returns a loss without a gradient, so nothing can be learnt "
            "from it"
        )


def empty_statistics(tokens: int, device: torch.device) -> TokenStatistics:
    """Statistics of tokens before anything is computed: NaN, and −1 for ids."""
    columns = {
        field.name: torch.full((tokens,), torch.nan, device=device)
        for field in fields(TokenStatistics)
    }
    ids = {
        name: torch.full((tokens,), UNKNOWN_ID, device=device)
        for name in ("student_top", "teacher_top")
    }
    return TokenStatistics(**columns | ids)


def _column(batch: MicroBatch, name: str, selected_T: Tensor) -> Tensor | None:
    """Return a per-token array of the rows at the selected tokens, [K].

    None if it is one of `SHAPED_COLUMNS` and no row has it. Raises ValueError if a row with
    selected tokens lacks the array.
    """
    if name in SHAPED_COLUMNS and all(getattr(row, name) is None for row in batch.rows):
        return None
    columns = []
    for row, row_selected in zip(batch.rows, selected_T.split(batch.lengths), strict=True):
        column = getattr(row, name)
        if column is None and row_selected.any():
            raise ValueError(
                f"an answer to problem {row.answer.problem.id} is learnt from by its ratio, but "
                f"has no {name}"
            )
        # Zeros hold the place of a row without selected tokens and are never read.
        columns.append(np.zeros(len(row.answer.ids), np.float32) if column is None else column)
    return torch.from_numpy(np.concatenate(columns)).to(selected_T.device)[selected_T]
