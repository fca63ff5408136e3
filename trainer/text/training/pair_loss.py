"""Log-probs of whole answers, and the loss of preference pairs on a micro-batch.

Shapes: R rows, T tokens of all rows, P pairs; rows are chosen, rejected, chosen, … (R = 2P).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from trainer.spec import DPO
from trainer.text.language.heads import head_of
from trainer.text.language.hidden_states import (
    Row,
    completion_ids,
    micro_batches,
    response_hidden,
)
from trainer.text.language.models import LanguageModel
from trainer.text.lm_head.linear_divergence import TokenStatistics
from trainer.text.lm_head.linear_logprob import linear_logprob
from trainer.text.mechanisms import function_of
from trainer.text.objectives.dpo import PairLogprobs
from trainer.text.training.micro_batch_loss import empty_statistics

T = TypeVar("T")


@dataclass(frozen=True)
class PairBatch:
    """`texts` are the (prompt, answer) ids of R rows, `references` [R] their reference log-probs.

    `weights` [P] are the weights of the pairs in the loss.
    """

    texts: Sequence[Row]
    references: Tensor
    weights: Tensor


@dataclass(frozen=True)
class PairLoss:
    """Computes the loss of micro-batches of pairs; the student reads `vocabulary` token ids."""

    student: LanguageModel
    vocabulary: int

    def __call__(
        self, batch: PairBatch, objective: DPO
    ) -> tuple[Tensor, PairLogprobs, TokenStatistics]:
        """Return Σ_p weight_p · loss_p, the pairs' log-probs, detached, and statistics [T]."""
        logprob_T, entropy_T = self.token_logprobs(batch.texts)
        statistics = empty_statistics(len(logprob_T), logprob_T.device)
        statistics.student_logprob[:] = logprob_T.detach()
        statistics.entropy[:] = entropy_T.detach()
        sums_R, reference_R = _row_sums(logprob_T, batch.texts), batch.references
        pairs = PairLogprobs(sums_R[::2], sums_R[1::2], reference_R[::2], reference_R[1::2])
        loss_P: Tensor = function_of(objective)(objective, pairs)
        detached = PairLogprobs(
            pairs.chosen.detach(),
            pairs.rejected.detach(),
            pairs.reference_chosen,
            pairs.reference_rejected,
        )
        return (batch.weights * loss_P).sum(), detached, statistics

    def logprobs(self, texts: Sequence[Row]) -> Tensor:
        """Return the log-prob of each answer, the sum over its tokens, float64 [R]."""
        return _row_sums(self.token_logprobs(texts)[0], texts)

    def token_logprobs(self, texts: Sequence[Row]) -> tuple[Tensor, Tensor]:
        """Return the log-prob of each token of the answers and the entropies before it, [T]."""
        hidden_TH = response_hidden(self.student, texts)
        ids_T = completion_ids(texts).to(hidden_TH.device)
        head = head_of(self.student.model)
        return linear_logprob(hidden_TH, head, ids_T, vocabulary=self.vocabulary)


def pair_micro_batches(texts: Sequence[Row], tokens: int) -> list[list[int]]:
    """Group the pairs of 2P texts into padded micro-batches of at most `tokens` ids.

    A group has indices of pairs, whose texts are at 2p and 2p + 1. A pair that is longer is a group
    of its own.
    """
    longer = [max(texts[first : first + 2], key=_length) for first in range(0, len(texts), 2)]
    # Each pair has two rows.
    return micro_batches(longer, tokens // 2)


def both_sides(values: Sequence[T], pairs: Sequence[int]) -> list[T]:
    """Return the two neighbouring values of each of the pairs."""
    return [values[2 * pair + side] for pair in pairs for side in (0, 1)]


def _length(row: Row) -> int:
    prompt, answer = row
    return len(prompt) + len(answer)


def _row_sums(values_T: Tensor, texts: Sequence[Row]) -> Tensor:
    # In float64: float32 loses digits in sums over long answers, and their differences are small.
    return torch.stack(
        [row.sum() for row in values_T.double().split([len(answer) for _, answer in texts])]
    )
