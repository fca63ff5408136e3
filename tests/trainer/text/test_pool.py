"""The pool: pass rates, which problems are set aside, dropped or kept, and what a step draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.spec import HardFilterWeights, PacedWeights, UniformWeights, Weighting
from trainer.text.problems import Problem
from trainer.text.rollouts.answers import tally, truncated_share
from trainer.text.rollouts.questions import Answer
from trainer.text.training.problem_pool import ProblemPool, draw, pass_order


def pool(
    passed: list[int],
    verdicts: list[int],
    k: int = 8,
    weighting: Weighting | None = None,
    step: int = 0,
) -> ProblemPool:
    return ProblemPool(np.array(passed), np.array(verdicts), k, step, weighting or PacedWeights())


def answer(problem: str, verdict: bool | None, truncated: bool = False) -> Answer:
    return Answer(
        Problem(problem, "?", "1"), 0, "student", (5,), (6, 1), truncated, "1", verdict, "1"
    )


def test_an_undecided_verdict_is_left_out_of_numerator_and_denominator() -> None:
    problems = [Problem("a", "?", "1"), Problem("b", "?", "1")]
    passed, verdicts = tally(
        problems, [answer("a", True), answer("a", None), answer("a", False), answer("b", None)]
    )
    assert passed.tolist() == [1, 0]
    assert verdicts.tolist() == [2, 0]


def test_a_truncated_answer_counts_as_a_failure_and_its_share_is_reported() -> None:
    answers = [answer("a", False, truncated=True), answer("a", True)]
    assert tally([Problem("a", "?", "1")], answers)[1].tolist() == [2]
    assert truncated_share(answers) == 0.5


def test_a_problem_with_fewer_than_half_of_its_verdicts_is_set_aside() -> None:
    result = pool([2, 2, 0], [4, 3, 0])
    assert result.has_rate.tolist() == [True, False, False]
    assert result.kept_problems.tolist() == [0]
    assert result.metrics()["pool/set_aside"] == pytest.approx(2 / 3)
    assert result.weights_or_none() == [1.0, None, None]


def test_paced_drops_the_solved_and_the_hopeless_and_weighs_the_rest_around_one() -> None:
    result = pool([0, 1, 4, 8], [8, 8, 8, 8])
    assert result.kept_problems.tolist() == [1, 2]
    assert result.weights.tolist() == pytest.approx([0, 0.109375 / 0.1796875, 0.25 / 0.1796875, 0])
    shares = result.metrics()
    assert (shares["pool/hopeless"], shares["pool/frontier"], shares["pool/mastered"]) == (
        0.25,
        0.5,
        0.25,
    )


@pytest.mark.parametrize("weighting", [UniformWeights(), HardFilterWeights(low=0.1, high=0.9)])
def test_the_baselines_weigh_all_kept_problems_alike(weighting: Weighting) -> None:
    result = pool([0, 2, 6, 8], [8] * 4, weighting=weighting)
    assert set(result.weights[result.kept_problems]) == {1.0}


def test_drift_is_the_mean_change_of_pass_rates_measured_both_times() -> None:
    assert pool([4, 8, 0], [8, 8, 2]).drift(pool([0, 8, 4], [8, 8, 8])) == pytest.approx(0.25)


def test_a_pool_comes_back_from_its_state() -> None:
    result = pool([1, 2, 3], [8, 7, 3], step=5)
    back = ProblemPool.from_state(result.state(), result.weighting)
    assert (back.weights == result.weights).all()
    assert back.step == 5


@given(st.integers(1, 20), st.integers(1, 30), st.integers(0, 3))
def test_every_pass_draws_each_kept_problem_once(count: int, size: int, seed: int) -> None:
    kept_problems = np.arange(10, 10 + count)
    samples = [
        problem
        for index in range(count)
        for problem in draw(kept_problems, size, index, seed, origin=0)
    ]
    for turn in range(size):
        assert sorted(samples[turn * count : (turn + 1) * count]) == kept_problems.tolist()


def test_the_order_follows_from_seed_and_origin_alone() -> None:
    kept_problems = np.arange(50)
    assert draw(kept_problems, 8, 3, seed=1, origin=0) == draw(
        kept_problems, 8, 3, seed=1, origin=0
    )
    assert draw(kept_problems, 8, 3, seed=1, origin=0) != draw(
        kept_problems, 8, 3, seed=2, origin=0
    )
    assert draw(kept_problems, 8, 3, seed=1, origin=0) != draw(
        kept_problems, 8, 3, seed=1, origin=7
    )


@given(st.integers(1, 20), st.integers(1, 30), st.integers(0, 12), st.integers(0, 3))
def test_the_order_is_that_of_shuffling_the_kept_problems(
    count: int, size: int, index: int, seed: int
) -> None:
    """Runs that are resumed with a newer version must draw the same problems."""
    kept_problems = np.arange(10, 10 + 3 * count, 3)
    sequence: list[int] = []
    for number in range((index + 1) * size // count + 1):
        random = np.random.Generator(np.random.PCG64([seed, 5, number]))
        sequence += random.permutation(kept_problems).tolist()
    drawn = draw(kept_problems, size, index, seed, origin=5)
    assert drawn == sequence[index * size : (index + 1) * size]


def test_the_steps_of_a_pass_shuffle_the_pool_once() -> None:
    kept_problems = np.arange(1000)
    pass_order.cache_clear()
    for index in range(20):
        draw(kept_problems, 48, index, seed=1, origin=0)
    assert pass_order.cache_info().misses == 1
    draw(kept_problems, 48, 20, seed=1, origin=0)
    assert pass_order.cache_info().misses == 2
