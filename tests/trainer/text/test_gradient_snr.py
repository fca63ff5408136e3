"""Gradient signal-to-noise is right on gradients whose true ratio is known."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.text.evaluation.gradient_snr import ratio, summarise_bin


def gram(signal: float, n: int = 48, size: int = 200, seed: int = 0) -> np.ndarray:
    """Return the Gram matrix of gradients with a mean of length `signal`.

    Their noise has variance 1 in each of `size` directions.
    """
    gradients = np.random.default_rng(seed).normal(size=(n, size))
    gradients[:, 0] += signal
    return gradients @ gradients.T


def test_numerator_and_denominator_follow_their_definition() -> None:
    gradients = np.random.default_rng(0).normal(1.0, 1.0, (7, 5))
    mean = gradients.mean(axis=0)
    variance = ((gradients - mean) ** 2).sum() / 6
    numerator, denominator = ratio(gradients @ gradients.T, np.ones(7))
    assert numerator == pytest.approx(mean @ mean - variance / 7)
    assert denominator == pytest.approx(variance)


def test_pure_noise_shows_no_signal() -> None:
    result = [summarise_bin(0, 0, gram(0.0, seed=seed)) for seed in range(10)]
    assert np.mean([summary.snr for summary in result]) < 0.005
    assert sum(summary.interval[0] > 0.01 for summary in result) <= 1


def test_a_known_signal_is_recovered_within_its_interval() -> None:
    result = [summarise_bin(0, 0, gram(10.0, seed=seed)) for seed in range(20)]
    assert np.mean([summary.snr for summary in result]) == pytest.approx(100 / 200, rel=0.1)
    assert sum(summary.interval[0] <= 0.5 <= summary.interval[1] for summary in result) >= 14


def test_equal_gradients_have_no_noise_and_are_not_divided_by_zero() -> None:
    assert summarise_bin(1, 1, np.ones((5, 5))).snr == 0.0


def test_halves_are_the_ratios_of_either_half_of_the_problems() -> None:
    inner_products = gram(10.0, n=9)
    halves = summarise_bin(0, 0, inner_products)
    assert halves.first_half == summarise_bin(0, 0, inner_products[:4, :4]).snr
    assert halves.second_half == summarise_bin(0, 0, inner_products[5:, 5:]).snr


def test_a_peak_chosen_on_one_half_is_not_too_high_on_the_other() -> None:
    # Bins of equal truth: the highest of several measurements is above it by choice alone.
    chosen, honest = [], []
    for seed in range(100):
        bins = [summarise_bin(0, 0, gram(6.0, n=24, seed=4 * seed + index)) for index in range(4)]
        peak = max(bins, key=lambda summary: summary.first_half)
        chosen.append(peak.first_half)
        honest.append(peak.second_half)
    truth = 36 / 200
    assert np.mean(chosen) > 1.08 * truth
    assert np.mean(honest) == pytest.approx(truth, rel=0.04)
