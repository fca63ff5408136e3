"""Old weights are detected by the server's log-probs of a fixed text.

That holds for every number format and for small updates.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from trainer.engine.outcome import Failure
from trainer.text.rollouts.engines.vllm.weight_check import WeightCheck, check_text

SEEDS = st.integers(0, 2**31)
ROUNDINGS = st.sampled_from([1e-6, 1e-4, 0.02])


def numbers(seed: int) -> Tensor:
    """Sixty-three numbers of mean size 1."""
    samples = torch.randn(63, generator=torch.Generator().manual_seed(seed))
    return samples / samples.abs().mean()


def begun(rounding: float, tolerance: float = 0.05) -> tuple[WeightCheck, Tensor]:
    check, actual = WeightCheck(tolerance), 5 * numbers(1)
    check.begin(actual, actual + rounding * numbers(2))
    return check, actual


@given(SEEDS, ROUNDINGS, st.floats(1e-7, 3.0))
def test_a_server_with_the_new_weights_passes(seed: int, rounding: float, size: float) -> None:
    check, actual = begun(rounding)
    for version in range(1, 5):
        actual = actual + size * numbers(seed + version)
        check.check_update(version, actual, actual + rounding * numbers(seed + 10 + version))


@given(SEEDS, ROUNDINGS, st.floats(5.0, 1000.0))
def test_a_server_that_kept_the_old_weights_is_caught_once_they_differ_by_more_than_rounding(
    seed: int, rounding: float, times: float
) -> None:
    check, actual = begun(rounding)
    with pytest.raises(Failure, match="the weights of update 1"):
        check.check_update(
            1, actual + times * rounding * numbers(seed), actual + rounding * numbers(seed + 1)
        )


@given(SEEDS, ROUNDINGS)
def test_small_updates_that_never_arrive_add_up_and_are_caught(seed: int, rounding: float) -> None:
    check, start = begun(rounding)
    drift = numbers(seed)

    def train() -> None:
        for version in range(1, 20):
            check.check_update(
                version,
                start + version * rounding * drift,
                start + rounding * numbers(seed + version),
            )

    with pytest.raises(Failure):
        train()


@given(SEEDS, st.floats(3e-4, 1.0))
def test_in_float32_weights_that_were_only_partly_updated_are_caught(
    seed: int, fraction: float
) -> None:
    """Partly updated weights are nearer than the old ones, but not as near as at the start."""
    check, actual = begun(1e-6)
    moved = actual + 2 * numbers(seed)
    with pytest.raises(Failure):
        check.check_update(1, moved, moved + fraction * numbers(seed + 1))


def test_the_tolerance_is_the_most_that_rounding_may_grow() -> None:
    check, actual = begun(0.02, tolerance=0.05)
    check.check_update(1, actual, actual + 0.069 * numbers(3))
    with pytest.raises(Failure):
        check.check_update(2, actual, actual + 0.071 * numbers(3))


def test_another_network_is_refused_at_the_start() -> None:
    check = WeightCheck(0.05)
    with pytest.raises(Failure, match=r"0\.6 nats on average, before any update"):
        check.begin(numbers(1), numbers(1) + 0.6 * numbers(2))


def test_log_probs_that_are_not_numbers_are_refused() -> None:
    check, actual = begun(1e-6)
    with pytest.raises(Failure):
        check.check_update(1, actual, torch.full_like(actual, torch.nan))
    with pytest.raises(Failure):
        WeightCheck(0.05).begin(actual, torch.full_like(actual, torch.nan))


def test_the_fixed_text_is_always_the_same_and_fits() -> None:
    assert check_text(35, 100) == check_text(35, 100) and len(check_text(35, 100)) == 64
    assert len(check_text(35, 10)) == 9 and max(check_text(35, 100)) < 35
