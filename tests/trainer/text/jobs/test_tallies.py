"""Counts of parts add up to the counts of the whole."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.text.evaluation import intervals
from trainer.text.jobs.tallies import Tally, bin_begins, length_bin, tally

ANSWERS = st.fixed_dictionaries(
    {
        "verdict": st.sampled_from([True, False, None]),
        "truncated": st.booleans(),
        "tokens": st.integers(0, 3000),
    },
    optional={},
).flatmap(
    lambda plain: st.sampled_from(
        [
            plain,
            {**plain, "confidence": 0.5, "malformed": ""},
            {**plain, "confidence": None, "malformed": "missing"},
        ]
    )
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "domain": st.sampled_from(["", "add", "sub"]),
            "difficulty": st.just(""),
            "answers": st.lists(ANSWERS, min_size=1, max_size=4),
        }
    ),
    max_size=12,
)


@given(ROWS, st.lists(st.integers(0, 12), max_size=4))
def test_any_cut_adds_up_to_the_whole(rows: list[dict[str, Any]], cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(rows)]
    tallies = [tally(rows[first:last]) for first, last in pairwise(edges)]
    restored = [
        Tally.from_json(json.loads(json.dumps(chunk_tally.to_json()))) for chunk_tally in tallies
    ]
    assert sum(reversed(restored), Tally()) == tally(rows)


@given(ROWS)
def test_rates_and_intervals_are_those_of_the_answers(rows: list[dict[str, Any]]) -> None:
    verdicts_by_row = [
        [answer["verdict"] for answer in row["answers"] if answer["verdict"] is not None]
        for row in rows
    ]
    passed, verdicts = (
        np.array([sum(row_verdicts) for row_verdicts in verdicts_by_row], np.int64),
        np.array([len(row_verdicts) for row_verdicts in verdicts_by_row], np.int64),
    )
    if not verdicts.any():
        return
    result = tally(rows)
    assert np.isclose(result.pass_rate[0], intervals.pass_rate(passed, verdicts)[0])
    assert np.allclose(result.pass_rate[1], intervals.pass_rate(passed, verdicts)[1])
    assert np.isclose(sum(result.share(tier) for tier in ("mastered", "frontier", "hopeless")), 1)


@given(st.integers(1, 10**6))
def test_every_length_is_counted_in_its_bin(tokens: int) -> None:
    assert bin_begins(length_bin(tokens)) <= tokens
    assert length_bin(tokens) >= length_bin(tokens - 1)
