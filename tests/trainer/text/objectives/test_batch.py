"""Rows of similar length are read together, and every token's state is what it would be alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.text.tiny import VOCABULARY, language_model
from trainer.text.language.hidden_states import Row, length_groups, response_hidden

SHAPES = [(4, 7), (1, 1), (9, 3), (2, 12), (30, 40), (1, 2), (28, 37)]


def rows() -> list[Row]:
    generator = np.random.default_rng(5)
    pairs = [
        [tuple(generator.integers(0, VOCABULARY, length).tolist()) for length in shape]
        for shape in SHAPES
    ]
    return [(prompt, completion) for prompt, completion in pairs]


def padded(groups: list[list[int]], lengths: list[int]) -> int:
    return sum(len(group) * max(lengths[index] for index in group) for group in groups)


@pytest.mark.parametrize("cost", [0.0, 20.0, 1e9])
def test_states_are_those_of_each_row_alone_however_rows_are_grouped(
    cost: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = language_model("qwen2", "float64")
    monkeypatch.setattr("trainer.text.language.hidden_states._pass_cost", lambda _: cost)
    separate = torch.cat([response_hidden(model, [row]) for row in rows()])
    torch.testing.assert_close(response_hidden(model, rows()), separate)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=40), st.floats(0, 500))
@settings(deadline=None, max_examples=50)
def test_groups_hold_every_row_once_and_cost_no_more_than_one_group_or_one_for_each_row(
    lengths: list[int], cost: float
) -> None:
    groups = [list(group) for group in length_groups(lengths, cost)]
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    cost_of_groups = padded(groups, lengths) + cost * len(groups)
    assert cost_of_groups <= len(lengths) * max(lengths) + cost + 1e-6
    assert cost_of_groups <= sum(lengths) + cost * len(lengths) + 1e-6


def test_groups_are_in_falling_order_of_length() -> None:
    lengths = [3, 100, 5, 97, 4, 50]
    groups = length_groups(lengths, 8)
    assert groups == [[1, 3], [5], [2, 4, 0]]
    assert all(
        min(lengths[index] for index in long) >= max(lengths[index] for index in short)
        for long, short in pairwise(groups)
    )


def test_rows_in_one_group_keep_their_order() -> None:
    assert length_groups([3, 9, 4], 1000) == length_groups([3, 9, 4], float("inf")) == [range(3)]
