"""Importance weights of answers from another sampler: min(π/μ, 2), constant, none if edited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.text.rollouts.rounds import pipeline, prompts
from tests.trainer.text.tiny_run import spec
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.importance_weights import (
    needs_importance_weights,
    with_importance_weights,
)
from trainer.text.rollouts.records import TrainRow

NUMBERS = st.lists(st.tuples(st.floats(-2000, 0), st.floats(-2000, 0)), min_size=1, max_size=6)


def row(behaviour: Sequence[float], coefficients: Sequence[float]) -> TrainRow:
    first = pipeline(1).run_round(prompts("a"), Noise(0, 0), 0).rows[0]
    length = len(behaviour)
    return replace(
        first,
        answer=replace(first.answer, ids=(3,) * length),
        kinds=np.ones(length, np.int8),
        anchor_logprobs=None,
        coefficients=np.array(coefficients, np.float32),
        behaviour_logprobs=np.array(behaviour, np.float32),
    )


def test_the_weight_is_the_ratio_and_at_most_two() -> None:
    actual = np.array([-1.0, -2.0, -0.1, -0.2], np.float32)
    done = with_importance_weights(row([-1.0, -1.0, -3.0, -0.5], [1.0, 0.5, 1.0, 0.0]), actual)
    np.testing.assert_allclose(done.coefficients, [1.0, 0.5 * np.exp(-1.0), 2.0, 0.0], rtol=1e-6)
    assert done.anchor_logprobs is actual


@given(NUMBERS)
def test_no_token_is_left_out_so_the_normaliser_stays(numbers: list[tuple[float, float]]) -> None:
    actual, expected = np.array(numbers, np.float32).T
    done = with_importance_weights(row(expected, [1.0] * len(expected)), actual)
    assert (
        (done.coefficients > 0).all()
        and (done.coefficients <= 2).all()
        and done.coefficients.dtype == np.float32
    )


@pytest.mark.parametrize(
    ("compute", "dtype", "sampling", "versions", "weighed"),
    [
        ({}, "float32", {}, (5,), False),
        ({}, "float32", {}, (3, 5), True),
        ({}, "float32", {}, (4,), True),
        ({}, "float32", {"top_k": 4}, (4,), False),
        ({}, "float32", {"temperature": 0}, (4,), False),
        ({"sampler": {"kind": "vllm"}}, "float32", {}, (5,), True),
        ({"overlap": True}, "float32", {}, (5,), True),
        ({}, "bfloat16", {}, (5,), True),
        ({}, "bfloat16", {"temperature": 0.7}, (5,), True),
        ({}, "bfloat16", {"top_p": 0.9}, (5,), False),
        ({}, "float64", {}, (5,), False),
    ],
)
def test_answers_sampled_by_another_law_are_weighed(
    compute: dict[str, Any],
    dtype: str,
    sampling: dict[str, Any],
    versions: tuple[int, ...],
    weighed: bool,
) -> None:
    generate = {"per_problem": 1, "sampling": sampling}
    definition = spec(
        stages=[{"name": "a", "rollouts": {"generate": generate}}],
        compute=compute,
        networks={"student": {"model": "builtin:student", "dtype": dtype}},
    )
    stage = definition.stages[0]
    sampled = replace(row([-1.0, -2.0], [1.0, 1.0]), versions=versions)
    assert needs_importance_weights(definition, stage, sampled, 5) == weighed
    written_by_others = replace(sampled, behaviour_logprobs=None)
    assert not needs_importance_weights(definition, stage, written_by_others, 5)


def test_tokens_without_a_law_weigh_one() -> None:
    """A teacher's tokens, and those that were forced."""
    actual = np.array([-1.0, -2.0, -3.0], np.float32)
    done = with_importance_weights(row([-2.0, np.nan, -2.0], [1.0, 0.5, 1.0]), actual)
    np.testing.assert_allclose(done.coefficients, [2.0, 0.5, np.exp(-1.0)], rtol=1e-6)


def test_an_edited_answer_may_have_an_anchor_but_no_importance_weight() -> None:
    sampled = row([-1.0, -2.0], [1.0, 1.0])
    anchor = np.array([-1.0, -2.0], np.float32)
    replace(sampled, behaviour_logprobs=None, anchor_logprobs=anchor, edited=True)
    with pytest.raises(ValueError, match="nobody sampled it"):
        replace(sampled, edited=True)
