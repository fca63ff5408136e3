"""Log-probs and entropies from hidden states equal those of the full logits, and so do their
gradients.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.text.objectives.cases import Case, case, cases
from tests.trainer.text.objectives.strategies import temperatures
from trainer.text.objectives.linear_logprob import linear_logprob


@settings(deadline=None, max_examples=50)
@given(cases, temperatures, st.integers(1, 25))
def test_log_probs_and_entropies_equal_those_of_the_full_logits(
    one: Case, temperature: float, chunk: int
) -> None:
    log_probs, entropies = linear_logprob(
        one.hidden,
        one.head,
        one.ids,
        vocabulary=one.vocabulary,
        temperature=temperature,
        chunk=chunk,
    )
    full = (one.full_logits() / temperature).log_softmax(-1)
    expected_log_probs, expected_entropies = (
        full.gather(1, one.ids[:, None])[:, 0],
        -(full.exp() * full).sum(-1),
    )
    torch.testing.assert_close(log_probs, expected_log_probs)
    torch.testing.assert_close(entropies, expected_entropies)
    mixed = (one.coefficients * log_probs).sum() + (entropies**2).sum()
    expected = (one.coefficients * expected_log_probs).sum() + (expected_entropies**2).sum()
    for gradient, reference in zip(
        torch.autograd.grad(mixed, one.inputs()),
        torch.autograd.grad(expected, one.inputs()),
        strict=True,
    ):
        torch.testing.assert_close(gradient, reference, rtol=1e-9, atol=1e-11)


@settings(deadline=None, max_examples=25)
@given(cases)
def test_its_negative_is_the_cross_entropy(one: Case) -> None:
    log_probs, _ = linear_logprob(one.hidden, one.head, one.ids, vocabulary=one.vocabulary)
    ours, theirs = -log_probs.sum(), F.cross_entropy(one.full_logits(), one.ids, reduction="sum")
    torch.testing.assert_close(ours, theirs)
    for gradient, expected in zip(
        torch.autograd.grad(ours, one.inputs()),
        torch.autograd.grad(theirs, one.inputs()),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-11)


def test_autocast_does_not_narrow_the_log_probs() -> None:
    one = case(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        log_probs, _ = linear_logprob(one.hidden, one.head, one.ids, vocabulary=one.vocabulary)
    expected = one.full_logits().log_softmax(-1).gather(1, one.ids[:, None])[:, 0]
    torch.testing.assert_close(log_probs.double(), expected, rtol=1e-5, atol=1e-5)
