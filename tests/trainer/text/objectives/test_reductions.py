"""Tokens are reduced to the documented loss, divided by Z once for the global batch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.text.objectives.reductions import normaliser, token_coefficients

Batch = list[tuple[float, list[int]]]
REDUCTIONS: list[Any] = ["sequence_mean", "token_mean", "sequence_sum", "fixed"]
LONGEST = 9
problems = st.lists(
    st.tuples(st.floats(0.01, 5), st.lists(st.integers(1, LONGEST), min_size=1, max_size=4)),
    min_size=1,
    max_size=6,
)


def per_row(batch: Batch) -> tuple[list[float], list[int], list[int]]:
    rows = [(weight, len(lengths), length) for weight, lengths in batch for length in lengths]
    weights, siblings, lengths = zip(*rows, strict=True)
    return list(weights), list(siblings), list(lengths)


def z_of(batch: Batch, reduction: Any, normalisation: Any) -> float:
    weights, _, lengths = per_row(batch)
    return normaliser(
        reduction, normalisation, [weight for weight, _ in batch], weights, lengths, LONGEST
    )


def loss_of(batch: Batch, reduction: Any, values: torch.Tensor) -> float:
    """The four documented losses, by loops."""
    total, tokens, rows, start = 0.0, 0, 0, 0
    for weight, lengths in batch:
        for length in lengths:
            summed = float(values[start : start + length].sum())
            share = {
                "sequence_mean": 1 / length / len(lengths),
                "sequence_sum": 1 / len(lengths),
            }.get(reduction, 1)
            total += weight * summed * share
            tokens, rows, start = tokens + length, rows + 1, start + length
    return total / {"token_mean": tokens, "fixed": rows * LONGEST}.get(reduction, len(batch))


@settings(deadline=None, max_examples=40)
@given(problems, st.sampled_from(REDUCTIONS))
def test_coefficients_over_z_give_the_documented_loss(batch: Batch, reduction: Any) -> None:
    weights, siblings, lengths = per_row(batch)
    values = torch.arange(1.0, sum(lengths) + 1, dtype=torch.float64)
    loss = float((token_coefficients(weights, siblings, lengths, reduction) * values).sum()) / z_of(
        batch, reduction, "pool"
    )
    assert loss == pytest.approx(loss_of(batch, reduction, values))


@settings(deadline=None, max_examples=40)
@given(problems, st.sampled_from(REDUCTIONS), st.floats(0.1, 10))
def test_self_normalised_batches_do_not_depend_on_the_scale_of_weights(
    batch: Batch, reduction: Any, scale: float
) -> None:
    def loss(factor: float) -> float:
        scaled = [(factor * weight, lengths) for weight, lengths in batch]
        return float(token_coefficients(*per_row(scaled), reduction).sum()) / z_of(
            scaled, reduction, "batch_self_norm"
        )

    assert loss(scale) == pytest.approx(loss(1.0))
    if reduction in ("sequence_mean", "token_mean"):
        assert loss(scale) == pytest.approx(1.0)


@settings(deadline=None, max_examples=25)
@given(problems)
def test_answers_of_full_length_make_fixed_the_token_mean(batch: Batch) -> None:
    full = [(weight, [LONGEST] * len(lengths)) for weight, lengths in batch]
    assert z_of(full, "fixed", "pool") == z_of(full, "token_mean", "pool")
    assert torch.equal(
        token_coefficients(*per_row(full), "fixed"),
        token_coefficients(*per_row(full), "token_mean"),
    )


def test_an_answer_of_which_no_token_is_kept_leaves_no_coefficient() -> None:
    for reduction in REDUCTIONS:
        assert len(token_coefficients([1.0, 2.0], [1, 1], [0, 3], reduction)) == 3


def test_a_dropped_row_does_not_change_the_coefficients_of_the_others() -> None:
    batch_coefficients = token_coefficients([1.0, 2.0], [1, 1], [3, 4], "sequence_mean")
    row_coefficients = token_coefficients([2.0], [1], [4], "sequence_mean")
    assert torch.equal(batch_coefficients[3:], row_coefficients)


def test_weights_are_normalised_once_for_the_global_batch() -> None:
    """The example of PACED: weights .25, 0, .1, .2 on losses 1, 2, 3, 4 give 2.4545.

    The size of the micro-batches does not matter.
    """
    weights = [0.25, 0.0, 0.1, 0.2]
    z = normaliser("sequence_mean", "batch_self_norm", weights, weights, [1] * 4, 1)
    for size in (1, 2, 4):
        micro_batches = [
            token_coefficients(
                weights[start : start + size], [1] * size, [1] * size, "sequence_mean"
            )
            for start in range(0, 4, size)
        ]
        assert float((torch.cat(micro_batches) * torch.arange(1, 5)).sum()) / z == pytest.approx(
            2.4545454545
        )


def test_a_batch_of_zero_weights_is_a_zero_loss() -> None:
    for reduction in REDUCTIONS:
        assert normaliser(reduction, "batch_self_norm", [0.0, 0.0], [0.0, 0.0], [2, 3], 3) == 1.0
