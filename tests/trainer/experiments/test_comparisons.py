"""What comparisons say: known values, properties, and how often they err in simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.experiments.analysis import needed_seeds, welch
from trainer.experiments.comparisons import (
    Statement,
    Terms,
    common_means,
    compare_checkpoints,
    compare_settings,
    decide,
    differing_condition,
    problem_differences,
)
from trainer.experiments.paired_problems import ProblemDifference, difference

PROBLEMS = [f"p{i}" for i in range(100)]


def rates(values: np.ndarray) -> dict[str, float]:
    return dict(zip(PROBLEMS, values.tolist(), strict=False))


def says_a_direction(statement: Statement) -> bool:
    return statement.verdict.startswith(("higher", "lower"))


def test_welch_of_a_worked_example() -> None:
    # Computed with mpmath's incomplete beta function: ν = 5.098, rounded down to 5.
    measured = welch([0.61, 0.64, 0.58, 0.66, 0.63], [0.55, 0.57, 0.60])
    assert measured.degrees == 5
    assert [measured.mean, measured.error] == pytest.approx([0.0506666667, 0.0199276469])
    assert measured.interval() == pytest.approx((-0.0005589805, 0.1018923138))
    assert measured.interval(3) == pytest.approx((-0.0197598436, 0.1210931769))
    assert measured.detectable == pytest.approx(0.0695499909)


@pytest.mark.parametrize(
    ("spread", "claims", "degrees_per_seed", "expected"),
    [(0.05, 1, 1, 52), (0.05, 5, 1, 77), (0.05, 1, 2, 51), (0.01, 1, 1, 5)],
)
def test_the_number_of_seeds_that_would_tell(
    spread: float, claims: int, degrees_per_seed: int, expected: int
) -> None:
    # Searched with mpmath: the least n whose detectable difference is at most 0.02.
    assert needed_seeds(spread, 0.02, claims, degrees_per_seed) == expected


def test_a_hopeless_number_of_seeds_is_not_named() -> None:
    assert needed_seeds(100.0, 0.02) is None
    assert needed_seeds(1.0, 1e-320) is None


def test_the_detectable_difference_over_problems_is_that_of_the_formula() -> None:
    measured = ProblemDifference(200, 0.0, -0.04, 0.04, 0.3, True)
    assert measured.detectable == pytest.approx(0.0594305972)
    # (1.960 + 0.842)² · 0.3² / 0.02², and for the 99.375 % quantile of four comparisons.
    assert (measured.needed(0.02), measured.needed(0.02, 4)) == (1766, 2509)
    assert measured.needed(1e-200) is None


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((0.01, 0.05), "higher"),
        ((-0.05, -0.01), "lower"),
        ((0.001, 0.019), "higher, smaller than of interest"),
        ((-0.02, -0.001), "lower, smaller than of interest"),
        ((-0.01, 0.02), "no difference of interest"),
        ((-0.01, 0.021), "cannot tell"),
        ((0.0, 0.05), "cannot tell"),
        # A bound of 0 that sums of thirds have made 1e-17.
        ((1e-17, 0.05), "cannot tell"),
    ],
)
def test_the_verdict_follows_from_the_interval(interval: tuple[float, float], verdict: str) -> None:
    assert decide(interval, 0.02) == verdict


def test_two_checkpoints_are_compared_on_the_problems_that_both_were_judged_on() -> None:
    a = rates(np.tile([1.0, 0.5, 0.5], 30)) | {"only in a": 0.0}
    b = rates(np.tile([0.5, 0.5, 0.0], 30)) | {"only in b": 1.0}
    statement = compare_checkpoints(a, b)
    assert statement.measured is not None and statement.measured.counts == (90,)
    assert statement.measured.mean == pytest.approx(1 / 3)
    assert statement.words.startswith("Higher by 33.3 points: 95 % interval +2")
    assert "over 90 problems" in statement.words and "two checkpoints" in statement.words


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        (np.ones(19), np.zeros(19), "only 19 problems judged in both"),
        (np.full(50, 1 / 3), np.full(50, 1 / 3), "the same on all 50 problems"),
        # 2/3 − 1/3 and 1 − 2/3 differ by a rounding error only.
        (np.tile([2 / 3, 1.0], 25), np.tile([1 / 3, 2 / 3], 25), "the same on all 50 problems"),
    ],
)
def test_too_few_problems_or_no_variation_say_nothing(
    a: np.ndarray, b: np.ndarray, reason: str
) -> None:
    statement = compare_checkpoints(rates(a), rates(b))
    assert statement.verdict == "too few to say" and reason in statement.words


def test_no_common_problem_says_nothing() -> None:
    statement = compare_checkpoints({"a": 1.0}, {"b": 1.0})
    assert statement.verdict == "too few to say" and statement.measured is None


def test_settings_are_compared_over_shared_seeds_only() -> None:
    # D = 0.01 … 0.05: the interval of the worked example of `test_analysis`.
    a = {seed: 0.5 + 0.01 * seed for seed in range(1, 6)} | {9: 0.0}
    statement = compare_settings(a, dict.fromkeys(range(6), 0.5))
    assert statement.measured is not None
    assert (statement.measured.basis, statement.measured.counts) == ("shared seeds", (5,))
    assert statement.measured.interval == pytest.approx((0.0103676, 0.0496324), abs=1e-6)
    assert statement.verdict == "higher"


def test_without_shared_seeds_the_comparison_is_unpaired_and_says_so() -> None:
    a = dict(zip(range(5), [0.61, 0.64, 0.58, 0.66, 0.63], strict=True))
    statement = compare_settings(a, {7: 0.55, 8: 0.57, 9: 0.60})
    assert statement.measured is not None and statement.measured.basis == "unpaired seeds"
    assert statement.measured.counts == (5, 3)
    assert statement.verdict == "cannot tell" and "Unpaired" in statement.words
    assert f"About {statement.measured.needed} seeds a side" in statement.words


@pytest.mark.parametrize(
    ("a", "b"), [({1: 0.5, 2: 0.6}, {1: 0.4, 2: 0.3}), ({1: 0.5, 2: 0.6, 3: 0.6}, {4: 0.4, 5: 0.3})]
)
def test_under_three_seeds_a_side_there_is_no_verdict_on_settings(
    a: dict[int, float], b: dict[int, float]
) -> None:
    statement = compare_settings(a, b)
    assert statement.verdict == "no verdict" and "No verdict on settings" in statement.words


def test_seeds_without_any_variation_say_nothing() -> None:
    statement = compare_settings(dict.fromkeys(range(5), 1.0), dict.fromkeys(range(5), 0.5))
    assert statement.verdict == "too few to say"


def test_more_comparisons_widen_the_interval_that_decides_and_not_the_plain_one() -> None:
    rng = np.random.default_rng(0)
    a, b = rates(rng.binomial(4, 0.55, 100) / 4), rates(rng.binomial(4, 0.45, 100) / 4)
    one, ten = compare_checkpoints(a, b), compare_checkpoints(a, b, Terms(family=10))
    assert one.measured is not None and ten.measured is not None
    assert one.measured.interval == one.measured.adjusted == ten.measured.interval
    low, high = ten.measured.adjusted
    assert low < one.measured.interval[0] and one.measured.interval[1] < high
    assert "for 10 comparisons decides" in ten.words


@given(
    st.lists(
        st.tuples(st.sampled_from([0, 0.25, 0.5, 1]), st.sampled_from([0, 0.5, 1])), min_size=2
    ),
    st.randoms(),
)
@settings(max_examples=25)
def test_sides_can_be_swapped_and_the_order_of_problems_does_not_matter(
    pairs: list[tuple[float, float]], random: object
) -> None:
    a = {f"p{i}": pair[0] for i, pair in enumerate(pairs)}
    b = {f"p{i}": pair[1] for i, pair in enumerate(pairs)}
    forward, backward = difference(a, b), difference(b, dict(reversed(a.items())))
    assert forward is not None and backward is not None
    assert forward == difference(dict(reversed(a.items())), b)
    assert forward.mean == pytest.approx(-backward.mean)
    assert forward.low <= forward.mean + 1e-12 and forward.mean <= forward.high + 1e-12
    assert forward.spread == pytest.approx(backward.spread)


def test_the_difference_of_a_seed_is_over_the_problems_of_its_own_pair() -> None:
    a = {1: {"p": 1.0, "q": 0.0, "r": 1.0}, 2: {"p": 1.0}, 3: {"p": 1.0}}
    b = {1: {"p": 0.5, "q": 0.0}, 2: {"q": 1.0}, 4: {"p": 1.0}}
    assert problem_differences(a, b) == {1: 0.25}


def test_means_of_unpaired_seeds_are_over_the_problems_of_all_seeds() -> None:
    first, second = common_means({1: {"p": 1.0, "q": 0.0}}, {2: {"p": 0.5}, 3: {"p": 0.0, "r": 1}})
    assert (first, second) == ({1: 1.0}, {2: 0.5, 3: 0.0})


def test_the_condition_that_differs_is_named() -> None:
    one = {"set": "f1", "answer_limit": 256, "sampling": {"top_p": 1, "temperature": 0}}
    same = {"set": "f1", "answer_limit": 256, "sampling": {"temperature": 0, "top_p": 1}}
    assert differing_condition([one, same]) == ""
    assert (
        differing_condition([one, one | {"answer_limit": 512}])
        == "The answer limit differs: 256 and 512."
    )
    assert differing_condition([one | {"set": "f2"}, one]) == "The sets of problems differ."
    assert "not recorded" in differing_condition([one, {"set": "f1", "answer_limit": 256}])


def test_of_2000_comparisons_of_equal_checkpoints_one_in_twenty_at_most_sees_a_difference() -> None:
    """And the intervals contain the true difference as often as they promise."""
    rng, comparisons, wrong, covered, judged = np.random.default_rng(5), 2000, 0, 0, 0
    for index in range(comparisons):
        # Answers per problem, problems, and how far problems differ in difficulty.
        answers, problems = (1, 2)[index % 2], (20, 30, 60)[index % 3]
        solved = rng.beta(0.5, 0.5, problems)
        a, b = (rates(rng.binomial(answers, solved) / answers) for _ in "ab")
        statement = compare_checkpoints(a, b)
        wrong += says_a_direction(statement)
        if statement.measured is not None and statement.verdict != "too few to say":
            judged += 1
            low, high = statement.measured.interval
            covered += low - 1e-9 <= 0 <= high + 1e-9
    assert wrong / comparisons <= 0.05
    # Three standard deviations of a share of 0.95 among 2,000 are 0.015.
    assert judged > 1900 and 0.935 <= covered / judged <= 0.975


@pytest.mark.parametrize("shared", [True, False])
def test_of_2000_comparisons_of_equal_settings_one_in_twenty_at_most_sees_a_difference(
    shared: bool,
) -> None:
    rng, comparisons, wrong, covered = np.random.default_rng(0), 2000, 0, 0
    for index in range(comparisons):
        seeds = 3 + index % 3
        # A seed's own effect, the same for both sides, and that of each training.
        common = rng.normal(0, 0.05, seeds) if shared else np.zeros(seeds)
        a, b = (0.6 + common + rng.normal(0, 0.03, seeds) for _ in "ab")
        first = range(0 if shared else seeds, seeds if shared else 2 * seeds)
        statement = compare_settings(
            dict(enumerate(map(float, a))), dict(zip(first, map(float, b), strict=True))
        )
        assert statement.measured is not None
        wrong += says_a_direction(statement)
        covered += statement.measured.interval[0] <= 0 <= statement.measured.interval[1]
    assert wrong / comparisons <= 0.05
    assert covered / comparisons >= 0.935


def test_of_families_without_any_difference_one_in_twenty_at_most_has_a_wrong_verdict() -> None:
    rng, families, size, wrong = np.random.default_rng(1), 400, 5, 0
    for _ in range(families):
        baseline = {seed: float(value) for seed, value in enumerate(rng.normal(0, 1, 4))}
        statements = [
            compare_settings(
                {seed: float(value) for seed, value in enumerate(rng.normal(0, 1, 4))},
                baseline,
                Terms(interest=0.02, family=size, is_share=False),
            )
            for _ in range(size)
        ]
        wrong += any(map(says_a_direction, statements))
    # Three standard deviations of a share of 0.05 among 400 are 0.033.
    assert wrong / families <= 0.05 + 0.033


def test_a_difference_of_the_detectable_size_is_found_in_four_of_five_cases() -> None:
    rng, found, trials = np.random.default_rng(2), 0, 300
    # s of a difference of single answers with p = 0.5 is √0.5; 0.198 is detectable with 100.
    size = (1.959964 + 0.841621) * math.sqrt(0.5 - 0.198**2) / 10
    for _ in range(trials):
        a = rng.binomial(1, 0.5 + size / 2, 100).astype(float)
        b = rng.binomial(1, 0.5 - size / 2, 100).astype(float)
        found += compare_checkpoints(rates(a), rates(b)).verdict == "higher"
    # Three standard deviations of a share of 0.8 among 300 are 0.07.
    assert abs(found / trials - 0.8) <= 0.07
