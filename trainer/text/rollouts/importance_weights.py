"""Importance weights for answers that were sampled by another law than the trainer's.

Another program sampled them, older weights, or the same weights in another number format.

    c_t ← c_t · min(π(y_t) / μ(y_t), 2)

with π of the trainer and μ of the sampler, both under the distribution that y_t was sampled from.
This is truncated importance sampling: the weight is a constant, and the normaliser Z does not
change. Ratio objectives take π as their anchor instead of the sampler's log-probs, so that nothing
is corrected twice. An edited answer was not sampled and is not weighted.

Shapes: T tokens of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.text.language.heads import head_of
from trainer.text.language.hidden_states import completion_ids, micro_batches, response_hidden
from trainer.text.language.models import LanguageModel
from trainer.text.lm_head.linear_logprob import linear_logprob
from trainer.text.rollouts.protocols import Filter
from trainer.text.rollouts.records import DroppedAnswer, Group, Prompt, TrainRow, Trajectory

# A coefficient of exactly 0 would say that a token is left out, which changes Z.
LEAST = float(np.finfo(np.float32).tiny)

Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class ImportanceWeightedFilter:
    """Adds importance weights to the rows of `inner`, sampled at `temperature` by another law.

    The student reads the answers once more, `tokens()` ids at a time, in `bfloat16` where its
    updates compute in it.
    """

    inner: Filter
    student: LanguageModel
    temperature: float
    tokens: Callable[[], int]
    bfloat16: bool = False

    def judge(
        self, prompts: Sequence[Prompt], trajectories: Sequence[Sequence[Trajectory]]
    ) -> list[Group]:
        return self.inner.judge(prompts, trajectories)

    def rows(self, groups: Sequence[Group]) -> tuple[list[TrainRow], list[DroppedAnswer]]:
        rows, dropped = self.inner.rows(groups)
        indices = [index for index, row in enumerate(rows) if row.behaviour_logprobs is not None]
        sampled_rows = [rows[index] for index in indices]
        for index, row, own_T in zip(
            indices, sampled_rows, self._student_logprobs(sampled_rows), strict=True
        ):
            rows[index] = with_importance_weights(row, own_T)
        return rows, dropped

    @torch.no_grad()
    def _student_logprobs(self, rows: Sequence[TrainRow]) -> list[Numbers]:
        """The trainer's log-probs [T] of each row at the sampling temperature."""
        texts = [(row.answer.prompt, row.answer.ids) for row in rows]
        logprobs: dict[int, Numbers] = {}
        for batch in micro_batches(texts, self.tokens()):
            group = [texts[index] for index in batch]
            with torch.autocast(self.student.device.type, torch.bfloat16, enabled=self.bfloat16):
                hidden_TH = response_hidden(self.student, group)
            logprobs_T = self._logprobs(hidden_TH, completion_ids(group).to(hidden_TH.device))
            by_row = logprobs_T.split([len(ids) for _, ids in group])
            logprobs |= {index: row_T.numpy() for index, row_T in zip(batch, by_row, strict=True)}
        return [logprobs[index] for index in range(len(rows))]

    def _logprobs(self, hidden_TH: Tensor, ids_T: Tensor) -> Tensor:
        logprobs_T, _ = linear_logprob(
            hidden_TH,
            head_of(self.student.model),
            ids_T,
            vocabulary=self.student.vocabulary,
            temperature=self.temperature,
        )
        return logprobs_T.float().cpu()


def with_importance_weights(row: TrainRow, own_T: Numbers) -> TrainRow:
    """Multiply coefficients by importance weights; the trainer's log-probs become the anchor."""
    assert row.behaviour_logprobs is not None
    weights_T = importance_weight(
        torch.from_numpy(own_T), torch.from_numpy(row.behaviour_logprobs)
    ).numpy()
    return replace(
        row, coefficients=row.coefficients * np.maximum(weights_T, LEAST), anchor_logprobs=own_T
    )


def importance_weight(
    trainer_logprob_T: Tensor, behaviour_logprob_T: Tensor, cap: float = 2.0
) -> Tensor:
    """Return min(π_trainer / μ, cap), [T], a constant.

    It corrects for tokens sampled by another engine or older weights (μ). Both log-probs are of the
    same token, at the same temperature, of distributions that are cut (top-p, top-k) in the same
    way.
    """
    return (trainer_logprob_T - behaviour_logprob_T).detach().exp().clamp_max(cap)
