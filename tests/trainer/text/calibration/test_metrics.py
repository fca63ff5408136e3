"""Calibration metrics: published values, and properties that hold for any answers."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.text.calibration import metrics

CORRECT = [1, 0, 1, 1, 0, 0, 1, 0, 1, 0]
CONFIDENCE = [1, 1, 0.9, 0.75, 0.75, 0.5, 0.5, 0.25, 0.125, 0]

answers = st.lists(
    st.tuples(
        st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.3, 0.6, 0.7, 1.0])), st.booleans()
    ),
    min_size=1,
    max_size=40,
)
both_kinds = answers.filter(lambda rows: len({correct for _, correct in rows}) == 2)


def columns(rows: list[tuple[float, bool]]) -> tuple[list[float], list[bool]]:
    confidence, correct = map(list, zip(*rows, strict=True))
    return confidence, correct


def test_ten_answers_give_the_published_values() -> None:
    assert metrics.brier(CONFIDENCE, CORRECT) == pytest.approx(0.2963125)
    assert metrics.ece(CONFIDENCE, CORRECT) == pytest.approx(0.2525)
    assert metrics.spr(CONFIDENCE, CORRECT) == pytest.approx(0.56)
    assert metrics.auroc(CONFIDENCE, CORRECT) == pytest.approx(0.62)
    assert metrics.over_confidence_gap(CONFIDENCE, CORRECT) == pytest.approx(0.0775)
    occupied = {round(row.low * 10): row.n for row in metrics.reliability(CONFIDENCE, CORRECT)}
    assert occupied == {0: 1, 1: 1, 2: 1, 5: 2, 7: 2, 9: 3}


def test_constant_certainty_has_the_error_rate_as_its_error() -> None:
    certain = [1.0] * 10
    assert (
        metrics.ece(certain, CORRECT)
        == metrics.brier(certain, CORRECT)
        == metrics.over_confidence_gap(certain, CORRECT)
        == 0.5
    )
    assert metrics.spr(certain, CORRECT) == 0
    assert metrics.auroc(certain, CORRECT) == 0.5


@pytest.mark.parametrize("tenths", range(11))
def test_a_tenth_opens_its_own_bin(tenths: int) -> None:
    assert metrics.bins_of([tenths / 10, tenths * 0.1]).tolist() == [min(tenths, 9)] * 2


def test_bins_of_equal_mass_hold_equal_numbers_and_keep_ties_together() -> None:
    assert metrics.bins_of([0.1, 0.2, 0.11, 0.9, 0.3, 0.8], 3, "mass").tolist() == [
        0,
        1,
        0,
        2,
        1,
        2,
    ]
    assert metrics.bins_of([0.5, 0.5, 0.5, 0.9], 2, "mass").tolist() == [0, 0, 0, 1]


def test_bins_of_equal_mass_say_which_confidences_they_span() -> None:
    bins = metrics.reliability([0.1, 0.2, 0.8, 0.9], [0, 1, 1, 1], 2, "mass")
    assert [(b.low, b.high, b.n, b.accuracy) for b in bins] == [
        (0.1, 0.2, 2, 0.5),
        (0.8, 0.9, 2, 1.0),
    ]
    assert bins[0].interval == pytest.approx((0.094531, 0.905469), abs=1e-6)


@given(
    st.lists(st.sampled_from([0.0, 0.13, 0.17, 0.5, 0.72, 1.0]), min_size=1, max_size=8),
    st.sampled_from(["width", "mass"]),
)
def test_perfect_calibration_shows_the_mean_over_all_outcomes(
    confidence: list[float], spacing: Any
) -> None:
    total = 0.0
    for outcome in product([0, 1], repeat=len(confidence)):
        chance = math.prod(
            c if right else 1 - c for c, right in zip(confidence, outcome, strict=True)
        )
        total += chance * metrics.ece(confidence, outcome, spacing=spacing)
    assert metrics.expected_ece(confidence, spacing=spacing) == pytest.approx(total, abs=1e-12)


def test_perfect_calibration_shows_less_and_less_with_more_answers() -> None:
    few, many = (metrics.expected_ece(np.full(n, 0.5)) for n in (25, 2500))
    assert many == pytest.approx(few / 10, rel=0.02)


@given(answers)
def test_the_parts_of_the_brier_score_add_up(rows: list[tuple[float, bool]]) -> None:
    decomposition = metrics.brier_decomposition(*columns(rows))
    brier = (
        decomposition.reliability
        - decomposition.resolution
        + decomposition.uncertainty
        + decomposition.within
    )
    assert brier == pytest.approx(metrics.brier(*columns(rows)), abs=1e-12)


@given(
    st.lists(st.tuples(st.sampled_from([0.05, 0.35, 0.95]), st.booleans()), min_size=1, max_size=30)
)
def test_bins_of_one_confidence_have_no_within_term(rows: list[tuple[float, bool]]) -> None:
    assert metrics.brier_decomposition(*columns(rows)).within == pytest.approx(0, abs=1e-12)


@given(both_kinds)
def test_auroc_exceeds_spr_by_half_the_ties(rows: list[tuple[float, bool]]) -> None:
    confidence, correct = columns(rows)
    right, wrong = ([c for c, y in rows if y is kind] for kind in (True, False))
    ties = sum(a == b for a, b in product(right, wrong)) / (len(right) * len(wrong))
    assert metrics.auroc(confidence, correct) - metrics.spr(confidence, correct) == pytest.approx(
        ties / 2, abs=1e-12
    )


@given(both_kinds)
def test_ranking_sees_the_order_of_confidences_alone(rows: list[tuple[float, bool]]) -> None:
    confidence, correct = columns(rows)
    _, ranks = np.unique(confidence, return_inverse=True)
    assert metrics.auroc(confidence, correct) == pytest.approx(metrics.auroc(ranks / 100, correct))
    assert metrics.auroc(confidence, np.logical_not(correct)) == pytest.approx(
        1 - metrics.auroc(confidence, correct)
    )
    assert metrics.risk_coverage_area(confidence, correct) == pytest.approx(
        metrics.risk_coverage_area(ranks / 100, correct)
    )


@given(answers, st.randoms(use_true_random=False))
def test_the_order_of_the_answers_does_not_matter(
    rows: list[tuple[float, bool]], random: Any
) -> None:
    shuffled = random.sample(rows, len(rows))
    for spacing in ("width", "mass"):
        assert metrics.ece(*columns(rows), spacing=spacing) == pytest.approx(
            metrics.ece(*columns(shuffled), spacing=spacing)
        )
        assert metrics.expected_ece(columns(rows)[0], spacing=spacing) == pytest.approx(
            metrics.expected_ece(columns(shuffled)[0], spacing=spacing)
        )
    assert metrics.risk_coverage(*columns(rows)) == metrics.risk_coverage(*columns(shuffled))


@given(answers)
def test_bins_say_what_the_calibration_error_sums(rows: list[tuple[float, bool]]) -> None:
    confidence, correct = columns(rows)
    for spacing in ("width", "mass"):
        bins = metrics.reliability(confidence, correct, spacing=spacing)
        assert sum(b.n for b in bins) == len(rows)
        assert all(b.interval[0] - 1e-12 <= b.accuracy <= b.interval[1] + 1e-12 for b in bins)
        summed = sum(b.n * abs(b.accuracy - b.confidence) for b in bins) / len(rows)
        assert metrics.ece(confidence, correct, spacing=spacing) == pytest.approx(summed, abs=1e-12)
        assert abs(metrics.over_confidence_gap(confidence, correct)) <= summed + 1e-12


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_a_constant_confidence_at_the_accuracy_is_calibrated_and_useless(
    correct: list[bool],
) -> None:
    accuracy = sum(correct) / len(correct)
    constant = [accuracy] * len(correct)
    assert metrics.ece(constant, correct) == pytest.approx(0, abs=1e-12)
    decomposition = metrics.brier_decomposition(constant, correct)
    assert metrics.brier(constant, correct) == pytest.approx(decomposition.uncertainty)
    assert decomposition.resolution == pytest.approx(0, abs=1e-12)
    assert metrics.risk_coverage(constant, correct) == [
        (1.0, (len(correct) - sum(correct)) / len(correct))
    ]
    assert metrics.risk_coverage_area(constant, correct) == pytest.approx(1 - accuracy)


@pytest.mark.parametrize("correct", [[1, 1], [0, 0]])
def test_ranking_says_nothing_where_a_class_is_missing(correct: list[int]) -> None:
    assert math.isnan(metrics.spr([0.2, 0.9], correct))
    assert math.isnan(metrics.auroc([0.2, 0.9], correct))


def test_risk_grows_with_coverage_when_confidence_ranks_well() -> None:
    assert metrics.risk_coverage([0.9, 0.8, 0.8, 0.1], [1, 1, 0, 0]) == [
        (0.25, 0.0),
        (0.75, pytest.approx(1 / 3)),
        (1.0, 0.5),
    ]
    assert metrics.risk_coverage_area([0.9, 0.8, 0.8, 0.1], [1, 1, 0, 0]) == pytest.approx(
        (0 + 0.25 + 1 / 3 + 0.5) / 4
    )


def test_a_long_curve_is_thinned_but_keeps_its_ends() -> None:
    confidence = np.linspace(0, 1, 1000)
    curve = metrics.risk_coverage(confidence, confidence > 0.5, points=50)
    assert len(curve) == 50
    assert curve[0] == (0.001, 0.0)
    assert curve[-1] == (1.0, 0.5)
