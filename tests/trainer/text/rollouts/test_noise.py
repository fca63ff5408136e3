"""Sampling noise is a function of what is sampled, and looks random in every direction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trainer.text.rollouts.engines.noise import Noise, rollout_keys, uniforms

NOISE = Noise(seed=0, round=0)
PROBLEMS = [f"problem-{number}" for number in range(64)]


def table(noise: Noise = NOISE, tokens: int = 64) -> NDArray[np.float64]:
    """[problems × 8 rollouts, tokens]."""
    keys = rollout_keys(noise, ((problem, sample) for problem in PROBLEMS for sample in range(8)))
    return uniforms(keys[:, None], np.arange(tokens)[None])


def test_the_first_numbers_are_those_of_splitmix64() -> None:
    """Outputs for the seed 1234567, as published with the generator."""
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    numbers = uniforms(np.array([1234567], dtype=np.uint64), np.arange(5))
    np.testing.assert_array_equal(numbers, [(number >> 11) * 2.0**-53 for number in published])


@settings(deadline=None, max_examples=25)
@given(st.permutations(range(12)), st.integers(1, 12))
def test_neither_order_nor_batch_changes_a_number(order: list[int], size: int) -> None:
    noise = Noise(seed=3, round=5)
    names = [(PROBLEMS[number % 5], number) for number in range(12)]
    all_keys = rollout_keys(noise, names)
    batches = [
        rollout_keys(noise, [names[index] for index in order[start : start + size]])
        for start in range(0, 12, size)
    ]
    np.testing.assert_array_equal(np.concatenate(batches), all_keys[order])


@pytest.mark.parametrize("changed_noise", [Noise(1, 0), Noise(0, 1), Noise(0, 0, "evaluation")])
def test_seed_round_and_purpose_each_give_unrelated_numbers(changed_noise: Noise) -> None:
    actual, expected = table().ravel(), table(changed_noise).ravel()
    assert abs(np.corrcoef(actual, expected)[0, 1]) < 4 / np.sqrt(actual.size)


def test_branches_differ() -> None:
    names = [("a", 0)]
    assert rollout_keys(Noise(0, 0), names, branch=1) != rollout_keys(Noise(0, 0), names)


def test_names_cannot_run_into_each_other() -> None:
    noise = Noise(0, 1)
    keys = rollout_keys(noise, [("a1", 1), ("a", 11), ("a1", 11), ("a', 1", 1)])
    assert len(set(keys.tolist())) == 4
    assert rollout_keys(Noise(0, 11), [("a", 1)]) != rollout_keys(noise, [("1a", 1)])


def test_numbers_are_uniform() -> None:
    """χ² over 256 cells; 330 is its 99.9 % quantile for 255 degrees of freedom."""
    numbers = table()
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = np.histogram(numbers, bins=256, range=(0, 1))[0]
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 330


@pytest.mark.parametrize("shift", [1, 2, 7, 8, 9])
@pytest.mark.parametrize("axis", [0, 1])
def test_neighbouring_rollouts_and_tokens_are_unrelated(shift: int, axis: int) -> None:
    numbers = table()
    first, second = (
        np.take(numbers, indices, axis)
        for indices in (range(shift, numbers.shape[axis]), range(numbers.shape[axis] - shift))
    )
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 4 / np.sqrt(first.size)


def test_pairs_of_successive_numbers_fill_the_square() -> None:
    """χ² over 16 × 16 cells of (token t, token t + 1)."""
    numbers = table()
    counts = np.histogram2d(
        numbers[:, :-1].ravel(), numbers[:, 1:].ravel(), bins=16, range=[(0, 1), (0, 1)]
    )[0]
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 330
