"""Tokens are drawn from the requested distribution, and both log-probs are recorded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from trainer.spec.sampling import Sampling
from trainer.text.rollouts.engines.token_choice import TokenChoice, choose

LAWS = [
    Sampling(),
    Sampling(temperature=0.7),
    Sampling(temperature=1.3, top_k=5),
    Sampling(top_p=0.8),
    Sampling(temperature=2.0, top_k=8, top_p=0.6),
]


def logits(seed: int = 0, vocabulary: int = 20) -> Tensor:
    return (
        torch.randn(vocabulary, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        * 2
    )


def law_of_transformers(logits_V: Tensor, sampling: Sampling) -> Tensor:
    scores = TemperatureLogitsWarper(sampling.temperature)(torch.zeros(1, 1), logits_V[None])
    if sampling.top_k:
        scores = TopKLogitsWarper(sampling.top_k)(torch.zeros(1, 1), scores)
    if sampling.top_p < 1:
        scores = TopPLogitsWarper(sampling.top_p)(torch.zeros(1, 1), scores)
    return scores.softmax(-1)[0]


def samples(logits_V: Tensor, sampling: Sampling, draws: int) -> TokenChoice:
    """Draw once for each of `draws` evenly spaced uniform numbers.

    So the counts equal the expected counts within one.
    """
    numbers = (torch.arange(draws, dtype=torch.float64) + 0.5) / draws
    return choose(logits_V.expand(draws, -1), numbers, sampling)


@pytest.mark.parametrize("sampling", LAWS)
@pytest.mark.parametrize("seed", range(3))
def test_frequencies_follow_the_distribution(sampling: Sampling, seed: int) -> None:
    counts = torch.bincount(samples(logits(seed), sampling, 20_000).ids, minlength=20)
    expected = law_of_transformers(logits(seed), sampling) * 20_000
    assert (counts - expected).abs().max() <= 1


@pytest.mark.parametrize("sampling", LAWS)
def test_both_log_probs_and_the_entropy_are_remembered(sampling: Sampling) -> None:
    choice = samples(logits(), sampling, 100)
    logprobs = logits().log_softmax(-1)
    torch.testing.assert_close(choice.logprobs, logprobs[choice.ids])
    torch.testing.assert_close(
        choice.sampled_logprobs, law_of_transformers(logits(), sampling).log()[choice.ids]
    )
    torch.testing.assert_close(choice.entropies, -(logprobs.exp() * logprobs).sum().expand(100))


def test_temperature_zero_takes_the_likeliest_token_surely() -> None:
    choice = samples(logits(), Sampling(temperature=0), 10)
    assert set(choice.ids.tolist()) == {int(logits().argmax())}
    assert not choice.sampled_logprobs.any()
    torch.testing.assert_close(choice.logprobs, logits().log_softmax(-1).max().expand(10))


def test_equal_logits_at_the_edge_of_top_k_are_all_kept() -> None:
    flat = torch.tensor([3.0, 1.0, 1.0, 0.0])
    assert set(samples(flat, Sampling(top_k=2), 1000).ids.tolist()) == {0, 1, 2}


def test_top_p_keeps_at_least_one_token() -> None:
    assert set(samples(logits(), Sampling(top_p=1e-9), 100).ids.tolist()) == {
        int(logits().argmax())
    }


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.floats(0, 1, exclude_max=True), st.sampled_from(LAWS))
def test_a_token_that_was_cut_is_never_drawn(seed: int, number: float, sampling: Sampling) -> None:
    values = logits(seed)
    choice = choose(values[None], torch.tensor([number], dtype=torch.float64), sampling)
    assert law_of_transformers(values, sampling)[choice.ids[0]] > 0
    assert torch.isfinite(choice.sampled_logprobs).all()


def test_the_last_number_below_one_stays_inside_a_large_vocabulary() -> None:
    values = torch.randn(151_936, generator=torch.Generator().manual_seed(1))
    choice = choose(values[None], torch.tensor([np.nextafter(1.0, 0.0)]), Sampling())
    assert 0 <= int(choice.ids[0]) < 151_936
