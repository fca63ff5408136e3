"""Intervals of pass rates: problems are the units, and the coverage is as stated."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.text.evaluation.intervals import (
    bootstrap,
    difference,
    pass_at,
    pass_rate,
    wilson,
)


def counts(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def test_wilson_gives_the_textbook_interval() -> None:
    low, high = wilson(8, 10)
    assert (low, high) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)


def test_one_answer_per_problem_uses_wilson_which_is_wide_even_at_zero() -> None:
    rate, (low, high) = pass_rate(counts(0, 0, 0, 0), counts(1, 1, 1, 1))
    assert rate == low == 0
    assert 0.4 < high < 0.6


def test_a_pass_rate_is_the_mean_over_problems_and_undecided_verdicts_leave_it() -> None:
    rate, (low, high) = pass_rate(counts(4, 0, 1, 0), counts(4, 4, 2, 0))
    assert rate == pytest.approx(0.5)
    assert low <= rate <= high


def test_no_verdict_at_all_is_not_a_number() -> None:
    rate, interval = pass_rate(counts(0), counts(0))
    assert math.isnan(rate)
    assert math.isnan(interval[0])


def test_answers_to_one_problem_do_not_narrow_the_interval_like_new_problems() -> None:
    p = np.repeat([0, 1], 20)
    few, many = pass_rate(p * 1, np.ones(40, np.int64))[1], pass_rate(p * 100, np.full(40, 100))[1]
    assert many[1] - many[0] > 0.8 * (few[1] - few[0])


def test_the_bootstrap_covers_the_truth_in_about_ninety_five_of_a_hundred_cases() -> None:
    rng, covered = np.random.default_rng(0), 0
    for _ in range(200):
        low, high = bootstrap(rng.binomial(4, rng.beta(1, 1, 100)) / 4)
        covered += low <= 0.5 <= high
    assert 180 <= covered <= 199


def test_a_paired_difference_is_sharper_than_the_two_rates_apart() -> None:
    rng = np.random.default_rng(0)
    before = rng.binomial(1, 0.5, 500)
    after = np.maximum(before, rng.binomial(1, 0.1, 500))
    verdict_counts = np.ones(500, np.int64)
    change, (low, high) = difference((after, verdict_counts), (before, verdict_counts))
    assert low <= change <= high
    assert high - low < 0.5 * (
        pass_rate(after, verdict_counts)[1][1] - pass_rate(after, verdict_counts)[1][0]
    )


def test_only_problems_judged_both_times_enter_a_difference() -> None:
    change, _ = difference((counts(1, 1, 0), counts(1, 1, 0)), (counts(0, 0, 1), counts(1, 0, 1)))
    assert change == 1.0


@given(st.integers(1, 7), st.integers(0, 7), st.integers(1, 7))
def test_pass_at_k_is_the_share_of_k_subsets_with_a_right_answer(n: int, c: int, k: int) -> None:
    c, k = min(c, n), min(k, n)
    answers = [True] * c + [False] * (n - c)
    subsets = list(combinations(answers, k))
    assert pass_at(k, counts(c), counts(n)) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_k_needs_k_verdicts() -> None:
    assert math.isnan(pass_at(5, counts(1), counts(4)))


def test_problems_that_are_never_solved_have_an_upper_bound_above_zero() -> None:
    rate, (low, high) = pass_rate(np.zeros(12, dtype=np.int64), np.full(12, 4, dtype=np.int64))
    assert (rate, low, high) == pytest.approx((0.0, 0.0, 0.2425), abs=1e-4)
