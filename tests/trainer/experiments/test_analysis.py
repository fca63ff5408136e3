"""Intervals, p-values, their adjustment and detectable differences: known values, properties."""

from __future__ import annotations

import math
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trainer.experiments.analysis import (
    bonferroni_interval,
    estimate,
    holm,
    p_value,
    student_cdf,
    student_quantile,
)

DIFFERENCES = st.lists(st.floats(-1, 1), min_size=2, max_size=12)


@pytest.mark.parametrize(
    ("degrees", "share", "expected"),
    [
        (1, 0.975, 12.706205),
        (2, 0.975, 4.302653),
        (4, 0.975, 2.776445),
        (7, 0.975, 2.364624),
        (30, 0.975, 2.042272),
        (5, 0.995, 4.032143),
    ],
)
def test_quantiles_are_those_of_the_printed_tables(
    degrees: int, share: float, expected: float
) -> None:
    assert student_quantile(share, degrees) == pytest.approx(expected, abs=1e-6)


def test_with_many_degrees_student_is_normal() -> None:
    assert student_quantile(0.975, 100_000) == pytest.approx(1.959964, abs=1e-4)


@given(st.floats(-50, 50), st.integers(1, 60))
def test_the_distribution_is_symmetric_and_rises(t: float, degrees: int) -> None:
    assert student_cdf(t, degrees) + student_cdf(-t, degrees) == pytest.approx(1.0, abs=1e-9)
    assert student_cdf(t, degrees) <= student_cdf(t + 0.5, degrees) + 1e-12


@given(st.floats(0.5, 0.999), st.integers(1, 40))
def test_the_quantile_undoes_the_distribution(share: float, degrees: int) -> None:
    assert student_cdf(student_quantile(share, degrees), degrees) == pytest.approx(share, abs=1e-9)


def test_the_interval_of_a_worked_example() -> None:
    # Mean 0.03, s = 0.0158114, s/√5 = 0.00707107; t(0.975, 4) = 2.776445, t(0.8, 4) = 0.940965.
    measured = estimate([0.01, 0.02, 0.03, 0.04, 0.05])
    assert measured.n == 5 and measured.mean == pytest.approx(0.03)
    assert [measured.low, measured.high] == pytest.approx([0.0103676, 0.0496324], abs=1e-6)
    assert measured.detectable == pytest.approx(0.0262859, abs=1e-6)


def test_one_difference_gives_no_interval() -> None:
    with pytest.raises(ValueError, match="needs two; run more seeds"):
        estimate([0.1])


@given(DIFFERENCES, st.floats(-1, 1))
def test_a_shift_of_all_differences_shifts_the_interval(
    differences: list[float], shift: float
) -> None:
    before, after = (
        estimate(differences),
        estimate([difference + shift for difference in differences]),
    )
    assert [after.low, after.high] == pytest.approx(
        [before.low + shift, before.high + shift], abs=1e-9
    )
    assert after.detectable == pytest.approx(before.detectable, abs=1e-9)


def test_the_p_value_of_a_worked_example() -> None:
    measured = estimate([0.01, 0.02, 0.03, 0.04, 0.05])
    # t = 0.03 / 0.00707107 = 4.242641 with 4 degrees of freedom; the printed p is 0.013236.
    assert p_value(measured, measured.mean) == pytest.approx(0.013236, abs=1e-6)
    assert p_value(measured, -measured.mean) == p_value(measured, measured.mean)
    assert p_value(measured, 0.0) == pytest.approx(1.0)


@given(DIFFERENCES, st.floats(-1, 1))
def test_p_is_at_most_five_per_cent_where_the_interval_leaves_the_bound_out(
    differences: list[float], bound: float
) -> None:
    measured = estimate(differences)
    assume(min(abs(measured.low - bound), abs(measured.high - bound)) > 1e-9)
    is_outside = not measured.low < bound < measured.high
    assert (p_value(measured, measured.mean - bound) <= 0.05) == is_outside


def test_holms_adjustment_of_worked_examples() -> None:
    # As R's p.adjust(p, "holm").
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == [0.02] and holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_between_the_plain_p_and_bonferronis_and_keeps_the_order(
    p_values: list[float],
) -> None:
    adjusted = holm(p_values)
    for p, after in zip(p_values, adjusted, strict=True):
        assert p <= after <= min(1.0, len(p_values) * p)
    ranks = sorted(range(len(p_values)), key=p_values.__getitem__)
    assert [adjusted[index] for index in ranks] == sorted(adjusted)


def test_of_five_claims_without_any_difference_one_is_seldom_decided_wrongly() -> None:
    rng, experiments, plain, adjusted = Random(0), 1500, 0, 0
    for _ in range(experiments):
        measured = [estimate([rng.gauss(0, 1) for _ in range(5)]) for _ in range(5)]
        p_values = [p_value(each, each.mean) for each in measured]
        plain += min(p_values) <= 0.05
        adjusted += min(holm(p_values)) <= 0.05
    # Three standard deviations of a share of 0.05 among 1,500 are 0.017.
    assert adjusted / experiments <= 0.067
    assert plain / experiments > 0.18


def test_bonferronis_interval_is_wider_and_of_one_claim_the_plain_one() -> None:
    measured = estimate([0.01, 0.02, 0.03, 0.04, 0.05])
    assert bonferroni_interval(measured, 1) == pytest.approx((measured.low, measured.high))
    # t(0.995, 4) = 4.604095: 1 − 0.05 / 5 / 2.
    assert bonferroni_interval(measured, 5) == pytest.approx(
        (0.03 - 4.604095 * 0.00707107, 0.03 + 4.604095 * 0.00707107), abs=1e-7
    )


@given(st.integers(2, 10), st.floats(-1, 1))
def test_equal_differences_give_an_interval_of_no_width(n: int, value: float) -> None:
    measured = estimate([value] * n)
    assert math.isclose(
        measured.low, measured.high, abs_tol=1e-12
    ) and measured.detectable == pytest.approx(0.0, abs=1e-12)
