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
