"""Problems whose answers all have one verdict are asked again, within a bound, and left out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.text.rollouts.rounds import pipeline, prompts
from trainer.spec.controllers.dynamic_sampling import DynamicSampling
from trainer.text.rollouts.controllers.dynamic_sampling import (
    ONE_VERDICT,
    DynamicSamplingController,
)
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.pipeline import RolloutRound

NAMES = "abcdefghijklmnop"


def round_of(per_problem: int, most: int, seed: int = 0) -> RolloutRound:
    control = DynamicSamplingController(DynamicSampling(most_answers=most))
    return pipeline(per_problem, control=control).run_round(prompts(*NAMES), Noise(seed, 0), 0)


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 5), st.integers(0, 24), st.integers(0, 9))
def test_what_is_trained_on_has_both_verdicts_and_nothing_grows_beyond_the_bound(
    per_problem: int, most: int, seed: int
) -> None:
    done = round_of(per_problem, most, seed)
    assert all(len(set(group.verdicts)) == 2 for group in done.trained)
    left_out = [group for group in done.new_groups if group not in done.trained]
    assert len(left_out) + len(done.trained) == len(NAMES)
    for group in done.new_groups:
        assert per_problem <= len(group.answers) <= max(per_problem, most)
        assert len({answer.sample for answer in group.answers}) == len(group.answers)
    for group in left_out:
        assert len(set(group.verdicts)) < 2 and len(group.answers) == max(per_problem, most)


def test_without_further_answers_it_leaves_them_out_at_once() -> None:
    done = round_of(2, 0)
    assert 0 < len(done.trained) < len(NAMES)
    assert all(len(group.answers) == 2 for group in done.new_groups)
    assert done.telemetry.dropped[ONE_VERDICT] > 0


def test_further_answers_save_problems_and_keep_the_first_ones() -> None:
    once, again = round_of(2, 0), round_of(2, 16)
    assert len(again.trained) > len(once.trained)
    for first, more in zip(once.new_groups, again.new_groups, strict=True):
        assert [answer.ids for answer in more.answers[:2]] == [
            answer.ids for answer in first.answers
        ]


def test_rows_of_a_problem_share_the_mean_over_all_its_answers() -> None:
    done = round_of(2, 16)
    grown = [row for row in done.rows if row.siblings > 2]
    assert grown
    for row in grown:
        assert row.siblings == len(done.trained[row.owner].answers)


@pytest.mark.parametrize("most", [0, 16])
def test_it_describes_itself(most: int) -> None:
    assert f"up to {most} answers" in DynamicSampling(most_answers=most).describe()
