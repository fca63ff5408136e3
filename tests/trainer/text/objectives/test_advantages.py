"""Answers are compared with the others to the same problem, and with nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.text.objectives.advantages import group_advantages, zero_variance_share

rewards = st.none() | st.sampled_from([0.0, 1.0]) | st.floats(-2, 2)
answers = st.lists(st.tuples(rewards, st.integers(0, 3)), max_size=16)


def test_the_standard_deviation_is_that_of_the_population() -> None:
    advantages = group_advantages([1, 0, 0, 1, 0, 0, 0, 0], [0] * 8, standardise=True)
    assert advantages == pytest.approx(
        [1.73205, -0.57735, -0.57735, 1.73205, *[-0.57735] * 4], abs=1e-5
    )
    assert group_advantages([1, 0, 0, 0], [0] * 4, standardise=False).tolist() == [
        0.75,
        -0.25,
        -0.25,
        -0.25,
    ]


def test_answers_without_a_verdict_count_for_nothing() -> None:
    assert group_advantages([1, None, 0], [5, 5, 5], standardise=True).tolist() == [1, 0, -1]


def test_equal_rewards_teach_nothing() -> None:
    """Rounding does not matter: in floating point the mean of eight 0.1 is not 0.1."""
    assert not group_advantages([0.1] * 8 + [1.0, None], [0] * 8 + [1, 1], standardise=True).any()


def test_the_share_of_problems_that_teach_nothing() -> None:
    assert zero_variance_share([1, 1, 0, 1, None, None, 0, None], [0, 0, 1, 1, 2, 2, 3, 3]) == 0.75
    assert zero_variance_share([], []) == 0


@settings(deadline=None, max_examples=50)
@given(answers, st.booleans())
def test_advantages_sum_to_zero_and_depend_on_no_other_problem(
    rewards_and_groups: list[tuple[float | None, int]], standardise: bool
) -> None:
    values, groups = (
        [value for value, _ in rewards_and_groups],
        [group for _, group in rewards_and_groups],
    )
    advantages = group_advantages(values, groups, standardise)
    for group in set(groups):
        indices = [index for index, owner in enumerate(groups) if owner == group]
        group_alone = group_advantages(
            [values[index] for index in indices], [0] * len(indices), standardise
        )
        assert advantages[indices].tolist() == group_alone.tolist()
        assert abs(float(group_alone.sum())) < 1e-6
        if standardise and group_alone.any():
            judged = [
                value
                for value, index in zip(group_alone, indices, strict=True)
                if values[index] is not None
            ]
            assert float(np.std(judged)) == pytest.approx(1)
