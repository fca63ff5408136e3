"""Intervals, smallest detectable differences and verdicts: known values and properties."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from trainer.experiments.analysis import estimate, judge, student_cdf, student_quantile

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


@given(DIFFERENCES, st.floats(-1, 1))
def test_negated_differences_reverse_the_verdict(differences: list[float], above: float) -> None:
    measured, mirrored = (
        estimate(differences),
        estimate([-difference for difference in differences]),
    )
    assume(min(abs(measured.low - above), abs(measured.high - above)) > 1e-12)
    opposite = {"shown": "reversed", "reversed": "shown", "not shown": "not shown"}
    assert judge(mirrored, -above) == opposite[judge(measured, above)]


def test_the_three_verdicts_and_the_gate() -> None:
    rising = estimate([0.02, 0.03, 0.04])
    assert judge(rising) == "shown"
    assert judge(rising, above=0.03) == "not shown"
    assert judge(rising, above=0.2) == "reversed"
    assert judge(rising, gates_hold=False) == "precondition not met"


@given(st.integers(2, 10), st.floats(-1, 1))
def test_equal_differences_give_an_interval_of_no_width(n: int, value: float) -> None:
    measured = estimate([value] * n)
    assert math.isclose(
        measured.low, measured.high, abs_tol=1e-12
    ) and measured.detectable == pytest.approx(0.0, abs=1e-12)
