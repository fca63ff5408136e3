"""Seeded, spliced and paused answers are trained with anchors under the student's own weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.text.short_run import carried_out, column, short
from trainer.text.rollouts.controllers import fixed
from trainer.text.rollouts.controllers.fixed import FixedController
from trainer.text.rollouts.filters import verifier
from trainer.text.rollouts.filters.verifier import VerdictFilter
from trainer.text.rollouts.generators import plain
from trainer.text.rollouts.generators.plain import PlainGenerator
from trainer.text.rollouts.records import (
    Decision,
    DroppedAnswer,
    Group,
    Prompt,
    SampleRequest,
    TrainRow,
    TrajectoryEvent,
)
from trainer.text.training.micro_batch_loss import MicroBatch, MicroBatchLoss


@dataclass(frozen=True)
class Seeding(PlainGenerator):
    """Prompts begin with a token more than those that the answers are learnt after."""

    def propose(self, prompts: Sequence[Prompt], counts: Sequence[int]) -> list[SampleRequest]:
        return [
            replace(request, prompt=(request.prompt[0], *request.prompt))
            for request in super().propose(prompts, counts)
        ]


@dataclass(frozen=True)
class Splicing(VerdictFilter):
    """Every answer gets its own first half once more at its end, as text of a teacher."""

    def rows(self, groups: Sequence[Group]) -> tuple[list[TrainRow], list[DroppedAnswer]]:
        rows, dropped = super().rows(groups)
        return [self._spliced(row) for row in rows], dropped

    def _spliced(self, row: TrainRow) -> TrainRow:
        ids = (*row.answer.ids, *row.answer.ids[: len(row.answer.ids) // 2])
        assert row.advantages is not None
        answer = replace(row.answer, ids=ids, entropies=None, logprobs=None, sampled_logprobs=None)
        return replace(
            row,
            answer=answer,
            kinds=np.full(len(ids), row.kinds[0], np.int8),
            coefficients=np.ones(len(ids), np.float32),
            advantages=np.full(len(ids), row.advantages[0], np.float32),
            anchor_logprobs=None,
            behaviour_logprobs=None,
            edited=True,
        )


@dataclass(frozen=True)
class InPieces(PlainGenerator):
    """Answers stop after every twenty tokens."""

    def propose(self, prompts: Sequence[Prompt], counts: Sequence[int]) -> list[SampleRequest]:
        return [replace(request, allowance=20) for request in super().propose(prompts, counts)]


@dataclass(frozen=True)
class Pausing(FixedController):
    """Answers are continued once in a later round."""

    def decide_trajectory(self, event: TrajectoryEvent) -> Decision:
        fresh = len(event.trajectory.segments) == 1
        return Decision("continue" if event.finished or not fresh else "pause", "its turn")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[TrainRow]:
    """All rows that micro-batches have had, in order."""
    rows: list[TrainRow] = []
    original = MicroBatchLoss.__call__

    def call(self: MicroBatchLoss, batch: MicroBatch, *arguments: Any) -> Any:
        rows.extend(batch.rows)
        return original(self, batch, *arguments)

    monkeypatch.setattr(MicroBatchLoss, "__call__", call)
    return rows


def definition(**stage: Any) -> Any:
    return short(
        {
            "objective": {"kind": "grpo", "clip_low": 1e-3, "clip_high": 1e-3},
            "problems_per_step": 8,
            "rollouts": {"generate": {"per_problem": 4, "sampling": {"max_new_tokens": 72}}},
            "until": {"steps": 1},
            **stage,
        }
    )


@pytest.mark.parametrize("kind", ["seeded", "spliced"])
def test_ratios_of_anchors_that_the_student_has_recomputed_begin_at_one(
    kind: str, trained: list[TrainRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "seeded":
        monkeypatch.setattr(plain, "PlainGenerator", Seeding)
    else:
        monkeypatch.setattr(verifier, "VerdictFilter", Splicing)
    folder = carried_out(definition(), tmp_path)
    # With other anchors most ratios would be beyond a clip range this narrow.
    assert column(folder, "ratio/clipped_share") == [0.0]
    assert column(folder, "grad_norm")[0] > 0
    assert trained and all(row.edited == (kind == "spliced") for row in trained)
    for row in trained:
        assert row.behaviour_logprobs is None and (row.coefficients == 1).all()


def test_answers_that_were_paused_have_the_weights_of_their_segments(
    trained: list[TrainRow], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "PlainGenerator", InPieces)
    monkeypatch.setattr(fixed, "FixedController", Pausing)
    stage = {"objective": {"kind": "reverse_kl"}, "optimiser": {"learning_rate": 0.01}}
    carried_out(definition(until={"steps": 4}, **stage), tmp_path)
    resumed = [row for row in trained if len(set(row.versions)) > 1]
    assert resumed
    for row in resumed:
        assert row.behaviour_logprobs is not None and row.anchor_logprobs is not None
        weights = np.minimum(np.exp(row.anchor_logprobs - row.behaviour_logprobs), 2)
        np.testing.assert_allclose(row.coefficients, weights, rtol=1e-5)
    weights_of_old = [row.coefficients[:20] for row in resumed]
    assert max(np.abs(weights - 1).max() for weights in weights_of_old) > 1e-3
