"""DAPO's soft penalty for long answers, against its equation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.text.rollouts.rounds import pipeline, prompts
from tests.trainer.text.tiny_run import spec
from trainer.spec.shapers.overlong import OverlongShaper
from trainer.text.objectives.advantages import group_advantages
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.records import TrainRow
from trainer.text.shapers.overlong import penalty
from trainer.text.shapers.shaping import shape


@given(length=st.integers(1, 20480))
def test_the_penalty_is_half_of_that_in_the_paper_whose_rewards_are_one_and_minus_one(
    length: int,
) -> None:
    longest, cache = 20480, 4096
    paper = 0.0 if length <= longest - cache else ((longest - cache) - length) / cache
    assert penalty(OverlongShaper(), length, longest) == pytest.approx(-paper / 2, abs=1e-12)


def answer(length: int, correct: bool, owner: int) -> TrainRow:
    row = pipeline(1).run_round(prompts("a"), Noise(0, 0), 0).rows[0]
    return replace(
        row,
        answer=replace(row.answer, ids=(3,) * length, verdict=correct),
        owner=owner,
        kinds=np.full(length, 2, np.int8),
        coefficients=np.ones(length, np.float32),
        anchor_logprobs=None,
        behaviour_logprobs=None,
    )


def test_advantages_are_those_of_the_penalised_rewards() -> None:
    stage = spec(
        stages=[
            {
                "name": "a",
                "objective": {"kind": "grpo"},
                "shapers": {"overlong": {"share": 0.5, "penalty": 0.4}},
                "rollouts": {"generate": {"per_problem": 2, "sampling": {"max_new_tokens": 20}}},
            }
        ]
    ).stages[0]
    rows = [
        answer(20, True, 0),
        answer(8, False, 0),
        answer(15, True, 1),
        answer(3, True, 1),
    ]
    owners = [row.owner for row in rows]
    plain = group_advantages([1, 0, 1, 1], owners, True)
    rows = [
        replace(row, advantages=np.full(len(row.answer.ids), value, np.float32))
        for row, value in zip(rows, plain, strict=True)
    ]
    expected = group_advantages([0.6, 0, 0.8, 1], owners, True)
    for row, value in zip(shape(rows, stage), expected, strict=True):
        assert row.advantages is not None
        np.testing.assert_allclose(row.advantages, value, rtol=1e-5)
