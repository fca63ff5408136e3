"""Log-probs of a round's tokens under the student's weights, old ones or those of a reference.

Read without gradient, before the first update of the round:

    anchor       of rows that were sampled by another law than the trainer's, or after another
                 prompt than they are learnt after; ratios are relative to it
    reference    of all rows, with the weights from the beginning of the stage

Shapes: T tokens of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.engine.distributed.world import World
from trainer.spec import Need, RunSpec, Stage
from trainer.text.language.heads import head_of
from trainer.text.language.hidden_states import completion_ids, micro_batches, response_hidden
from trainer.text.language.models import LanguageModel
from trainer.text.lm_head.linear_logprob import linear_logprob
from trainer.text.rollouts.importance_weights import (
    needs_importance_weights,
    with_importance_weights,
)
from trainer.text.rollouts.records import RATIO, TrainRow

Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class LogprobReader:
    """Reads rows with the student's present weights, `tokens` ids at a time, at a temperature.

    The ranks of the `world` share the work; each gets all results.
    """

    student: LanguageModel
    tokens: int
    temperature: float
    world: World

    @torch.no_grad()
    def read(self, rows: Sequence[TrainRow]) -> list[Numbers]:
        """Return the log-probs [T] of each row's tokens."""
        texts = [(row.answer.prompt, row.answer.ids) for row in rows]
        batches = micro_batches(texts, self.tokens)
        own_batches = self.world.divide(batches)
        # A rank with fewer batches repeats one: all ranks take part in a pass of a sharded network.
        count = -(-len(batches) // self.world.size)
        repeated = batches[:1] * (count - len(own_batches))
        logprobs = dict(
            self.world.concatenate(
                [item for batch in [*own_batches, *repeated] for item in self._read(batch, texts)]
            )
        )
        return [logprobs[index] for index in range(len(rows))]

    def _read(
        self, batch: Sequence[int], texts: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
    ) -> list[tuple[int, Numbers]]:
        batch_texts = [texts[index] for index in batch]
        hidden_TH = response_hidden(self.student, batch_texts)
        logprobs_T, _ = linear_logprob(
            hidden_TH,
            head_of(self.student.model),
            completion_ids(batch_texts).to(hidden_TH.device),
            vocabulary=self.student.vocabulary,
            temperature=self.temperature,
        )
        by_row = logprobs_T.float().cpu().split([len(ids) for _, ids in batch_texts])
        return [(index, row_T.numpy()) for index, row_T in zip(batch, by_row, strict=True)]


def with_anchors(
    rows: Sequence[TrainRow], spec: RunSpec, stage: Stage, version: int, reader: LogprobReader
) -> tuple[list[TrainRow], list[TrainRow]]:
    """Return the rows with anchors and importance weights, and those that the student has read.

    An anchor is only read where it is needed: for an importance weight, or for a ratio or a shaper.
    `version` counts the updates that the student has had.
    """
    weighted = {
        index
        for index, row in enumerate(rows)
        if needs_importance_weights(spec, stage, row, version)
    }
    indices = sorted(weighted | set(_without_anchor(rows, stage)))
    read_rows = [rows[index] for index in indices]
    done = list(rows)
    for index, own_T in zip(indices, reader.read(read_rows), strict=True):
        row = rows[index]
        done[index] = (
            with_importance_weights(row, own_T)
            if index in weighted
            else replace(row, anchor_logprobs=own_T)
        )
    return done, read_rows


def _without_anchor(rows: Sequence[TrainRow], stage: Stage) -> list[int]:
    if Need.OLD_LOGPROB not in stage.requirements:
        return []
    return [
        index
        for index, row in enumerate(rows)
        if row.anchor_logprobs is None
        and bool(((row.kinds == RATIO) & (row.coefficients != 0)).any())
    ]
