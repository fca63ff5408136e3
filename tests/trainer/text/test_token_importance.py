"""Which tokens are kept: the published scores, how they are chosen, and the four regions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.spec import SelectedTokens
from trainer.text.rollouts.engines.noise import Noise, rollout_keys
from trainer.text.training.token_importance import (
    kept_counts,
    region_metrics,
    regions,
    score,
    select,
)

# Five tokens over four words: mildly off, unsure and off, confident and wrong, confident and right,
# unsure and right.
ENTROPY = [math.log(4) * h for h in (0.662402, 1, 0.085897, 0.085897, 0.763533)]
REVERSE = [0.280635, 1.002912, 4.867911, 0, 0]
FORWARD = [0.334344, 0.857234, 4.867911, 0, 0]
PUBLISHED: dict[str, list[float]] = {
    "soft_or": [0.664529, 1, 1, 0, 0.756978],
    "confident_and_wrong": [0.119025, 0, 4.867911, 0, 0],
    "divergence": REVERSE,
    "entropy": [math.log(4) * h for h in (0.662402, 0.981083, 0.085897, 0.085897, 0.763533)],
    "random": [0, 0, 0, 0, 0],
}


def keys(answers: int, seed: int = 0) -> Any:
    return rollout_keys(
        Noise(seed, 0, "tokens"), [("problem", sample) for sample in range(answers)]
    )


def chosen(
    columns: Any = (ENTROPY, REVERSE, FORWARD),
    lengths: tuple[int, ...] = (5,),
    seed: int = 0,
    **settings: Any,
) -> list[bool]:
    result: list[bool] = select(
        SelectedTokens(**settings), *columns, lengths=lengths, keys=keys(len(lengths), seed)
    ).tolist()
    return result


@pytest.mark.parametrize("name", PUBLISHED)
def test_scores_are_the_published_ones(name: Any) -> None:
    np.testing.assert_allclose(
        score(SelectedTokens(score=name), ENTROPY, REVERSE, FORWARD, [5]),
        PUBLISHED[name],
        atol=4e-6,
    )


def test_confident_and_wrong_finds_the_token_that_entropy_ranks_last() -> None:
    assert chosen(score="confident_and_wrong", share=0.2) == [False, False, True, False, False]
    assert not chosen(score="entropy", share=0.6)[2]


def test_top_and_bottom_keep_opposite_ends() -> None:
    assert chosen(score="divergence", share=0.6) == [True, True, True, False, False]
    assert chosen(score="divergence", share=0.4, how="bottom") == [False, False, False, True, True]


def test_a_score_that_never_differs_keeps_its_share_at_random() -> None:
    flat = ([1.0] * 8, [0.0] * 8, [0.0] * 8)
    masks = [chosen(flat, (8,), seed, score="soft_or") for seed in range(40)]
    assert all(sum(mask) == 4 for mask in masks)
    assert all(0 < sum(column) < 40 for column in zip(*masks, strict=True))


def test_divergences_are_cut_only_if_asked() -> None:
    clipped = score(
        SelectedTokens(score="divergence", divergence_quantile=0.5), ENTROPY, REVERSE, FORWARD, [5]
    )
    np.testing.assert_allclose(clipped, np.minimum(REVERSE, 0.280635))


def test_scaling_over_each_answer_forgets_the_others() -> None:
    entropy, far = [0.1, 0.2, 1.0, 2.0], [0.0, 0.1, 5.0, 5.0]
    within = score(SelectedTokens(scope="answer", entropy_quantile=1.0), entropy, far, far, [2, 2])
    np.testing.assert_allclose(within, [0, 1, 0, 1])
    over_all = score(SelectedTokens(entropy_quantile=1.0), entropy, far, far, [2, 2])
    assert over_all[1] < over_all[2] <= over_all[3] == 1


def test_rounding_below_zero_counts_as_no_divergence() -> None:
    assert score(SelectedTokens(score="divergence"), [0.0], [-1e-9], [0.0], [1]).tolist() == [0.0]


@pytest.mark.parametrize(
    ("share", "lengths", "counts"),
    [(0.5, [1, 2, 5, 0], [1, 1, 2, 0]), (0.29, [100], [29]), (1.0, [7], [7]), (0.001, [9], [1])],
)
def test_an_answer_keeps_its_share_and_at_least_one_token(
    share: float, lengths: list[int], counts: list[int]
) -> None:
    assert kept_counts(lengths, share).tolist() == counts


def test_drawn_tokens_follow_their_scores() -> None:
    """One of three tokens is drawn 4,000 times, in the proportions of the scores.

    A score of 0 is never drawn before the others.
    """
    answers, scores = 4000, np.array([1.0, 3.0, 0.0])
    settings = SelectedTokens(score="entropy", how="sample", share=0.34, entropy_quantile=1.0)
    mask = select(
        settings, np.tile(scores, answers), [], [], lengths=[3] * answers, keys=keys(answers)
    ).reshape(answers, 3)
    np.testing.assert_allclose(mask.mean(0), [0.25, 0.75, 0.0], atol=0.03)


@given(
    data=st.data(),
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    seed=st.integers(0, 5),
)
def test_any_choice_keeps_exactly_its_count_and_depends_on_nothing_but_the_answer(
    data: st.DataObject, lengths: list[int], seed: int
) -> None:
    size = sum(lengths)
    column = st.lists(st.floats(0, 20), min_size=size, max_size=size)
    settings = SelectedTokens(
        score=data.draw(st.sampled_from(sorted(PUBLISHED))),
        how=data.draw(st.sampled_from(["top", "sample", "bottom"])),
        share=data.draw(st.floats(0.01, 1)),
        scope="answer",
    )
    columns = [data.draw(column) for _ in range(3)]
    answer_keys = keys(len(lengths), seed)
    mask = select(settings, *columns, lengths=lengths, keys=answer_keys)
    ends = np.cumsum(lengths)
    assert [answer_mask.sum() for answer_mask in np.split(mask, ends[:-1])] == kept_counts(
        lengths, settings.share
    ).tolist()
    last_answer = slice(ends[-1] - lengths[-1], ends[-1])
    last = select(
        settings,
        *(values[last_answer] for values in columns),
        lengths=lengths[-1:],
        keys=answer_keys[-1:],
    )
    assert last.tolist() == mask[last_answer].tolist()


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 20)), min_size=2, max_size=12))
def test_soft_or_lies_between_the_larger_axis_and_one(pairs: list[tuple[float, float]]) -> None:
    entropy, far = map(list, zip(*pairs, strict=True))
    settings = SelectedTokens(entropy_quantile=1.0)
    result = score(settings, entropy, far, far, [len(pairs)])
    only_entropy = score(settings, entropy, [0.0] * len(pairs), far, [len(pairs)])
    assert ((result >= only_entropy - 1e-12) & (result <= 1 + 1e-12)).all()


def test_regions_are_separated_by_the_medians() -> None:
    vocabulary = 4
    entropy = np.array([0.9, 0.8, 0.1, 0.2]) * math.log(vocabulary)
    event = regions(
        entropy, [2.0, 0.0, 6.0, 0.0], [True, False, True, False], vocabulary=vocabulary
    )
    assert event["thresholds"] == {"entropy": pytest.approx(0.5), "divergence": 1.0}
    assert [region["name"] for region in event["regions"]] == ["q1", "q2", "q3", "q4"]
    assert [region["share"] for region in event["regions"]] == [0.25] * 4
    assert [region["kept_share"] for region in event["regions"]] == [0.5, 0, 0.5, 0]
    assert [region["divergence_share"] for region in event["regions"]] == [0.25, 0, 0.75, 0]
    assert region_metrics(event) == {
        "tokens/q1": 0.25,
        "tokens/q2": 0.25,
        "tokens/q3": 0.25,
        "tokens/q4": 0.25,
    }


def test_regions_of_given_thresholds_can_be_compared_over_steps() -> None:
    event = regions([0.0, 0.0], [0.5, 2.0], vocabulary=10, thresholds=(0.4, 1.0))
    assert [region["share"] for region in event["regions"]] == [0, 0, 0.5, 0.5]


@given(
    st.lists(
        st.tuples(st.floats(0, 3), st.floats(-1e-7, 1e4), st.booleans()), min_size=1, max_size=30
    )
)
def test_every_token_is_in_one_region_and_one_cell(tokens: list[tuple[float, float, bool]]) -> None:
    entropy, far, kept_mask = map(list, zip(*tokens, strict=True))
    event = regions(entropy, far, kept_mask, vocabulary=16)
    assert sum(region["share"] for region in event["regions"]) == pytest.approx(1)
    assert np.sum(event["counts"]) == len(tokens)
    assert np.sum(event["kept"]) == sum(kept_mask)
    assert np.shape(event["counts"]) == (
        len(event["entropy_edges"]) - 1,
        len(event["divergence_edges"]) - 1,
    )
