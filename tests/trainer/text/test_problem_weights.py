"""Problem weights: PACED's numbers, its baselines, the estimated share wrongly dropped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from trainer.spec import HardFilterWeights, PacedWeights, UniformWeights
from trainer.text.training.problem_weights import (
    Vector,
    effective_problems,
    least_efficiency,
    normalised,
    share_wrongly_dropped,
    weigh,
    weighting_efficiency,
)


def paced_weights(p: ArrayLike, alpha: float, beta: float, floor: float = 0.0) -> Vector:
    return weigh(PacedWeights(alpha=alpha, beta=beta, floor=floor), p)


exponents = st.floats(0.1, 8)
rates = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def test_the_grid_at_eight_rollouts_is_that_of_the_method() -> None:
    grid = paced_weights(np.arange(9) / 8, 1, 1)
    np.testing.assert_allclose(grid[:5], [0, 0.109375, 0.1875, 0.234375, 0.25])
    np.testing.assert_allclose(grid, grid[::-1])


@pytest.mark.parametrize(("alpha", "beta", "peak"), [(1, 1, 1 / 2), (2, 1, 2 / 3), (1, 2, 1 / 3)])
def test_the_weight_peaks_at_alpha_over_alpha_plus_beta(
    alpha: float, beta: float, peak: float
) -> None:
    assert PacedWeights(alpha=alpha, beta=beta).highest_rates() == pytest.approx((peak, peak))
    grid = np.linspace(0, 1, 30001)
    assert abs(grid[np.argmax(paced_weights(grid, alpha, beta))] - peak) < 1e-4


@given(exponents, exponents)
def test_solved_and_hopeless_problems_weigh_nothing_without_a_floor(
    alpha: float, beta: float
) -> None:
    assert paced_weights([0.0, 1.0], alpha, beta).tolist() == [0.0, 0.0]
    assert (paced_weights([0.0, 1.0], alpha, beta, floor=0.01) == 0.01).all()


@given(rates)
def test_normalised_weights_have_mean_one_over_the_kept_problems(p: list[float]) -> None:
    weights = normalised(paced_weights(p, 1, 1))
    positive = weights[weights > 0]
    assert not positive.size or abs(positive.mean() - 1) < 1e-9


def test_weights_off_by_a_bounded_factor_cost_little_efficiency() -> None:
    """Kantorovich: with w = w*·e^±δ the efficiency is at least sech²(δ), 0.915137 at δ = 0.3."""
    rng, worst = np.random.default_rng(0), 1.0
    for _ in range(2000):
        best, variance = rng.uniform(0.1, 1, 2), rng.uniform(0.1, 10, 2)
        used = best * np.exp(rng.choice([-0.3, 0.3], 2))
        efficiency = weighting_efficiency(used, best, variance)
        worst = min(worst, efficiency)
    assert least_efficiency(0.3) == pytest.approx(0.915137, abs=1e-6)
    assert least_efficiency(0.3) - 1e-9 <= worst < 0.92


def test_uniform_keeps_all_and_the_hard_filter_keeps_its_interval() -> None:
    p = [0.0, 0.125, 0.5, 0.875, 1.0]
    assert weigh(UniformWeights(), p).tolist() == [1, 1, 1, 1, 1]
    assert weigh(HardFilterWeights(), p).tolist() == [0, 1, 1, 1, 0]


def test_effective_problems_counts_equal_weights_and_discounts_unequal_ones() -> None:
    assert effective_problems([1, 1, 1, 1]) == 4
    assert effective_problems([1, 0, 0, 0]) == 1
    assert effective_problems([0, 0]) == 0


def _estimate_and_truth(true_rates: np.ndarray, k: int) -> tuple[float, float]:
    passed = np.random.default_rng(1).binomial(k, true_rates)
    dropped = (passed == 0) | (passed == k)
    matters = paced_weights(true_rates, 1, 1) >= 0.025
    return share_wrongly_dropped(PacedWeights(), passed, np.full(len(passed), k)), float(
        matters[dropped].mean()
    )


def test_the_share_wrongly_dropped_is_estimated_well_in_a_mixed_pool() -> None:
    """The pool has 1,000 problems of each of three kinds.

    They are hopeless, easy to miss with eight answers (p = 0.1), or of middle difficulty.
    """
    estimate, truth = _estimate_and_truth(np.repeat([0.0, 0.1, 0.5], 1000), 8)
    assert 0.25 < truth < 0.35
    assert abs(estimate - truth) < 0.1


def test_a_pool_of_certain_problems_has_few_wrongly_dropped() -> None:
    estimate, truth = _estimate_and_truth(np.repeat([0.0, 1.0], 500), 8)
    assert truth == 0
    assert estimate < 0.05


def test_nothing_is_wrongly_dropped_where_nothing_is_dropped() -> None:
    assert share_wrongly_dropped(UniformWeights(), [0, 4, 8], [8, 8, 8]) == 0
    assert share_wrongly_dropped(PacedWeights(), [], []) == 0
    assert share_wrongly_dropped(PacedWeights(), [0, 0], [0, 0]) == 0
