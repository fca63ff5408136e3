"""Log-probs, entropies and their gradients equal those of the full logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.text.objectives.cases import Case, case, cases
from tests.trainer.text.objectives.strategies import temperatures
from trainer.text.lm_head.linear_logprob import linear_logprob


@settings(deadline=None, max_examples=50)
@given(cases, temperatures, st.integers(1, 25))
def test_log_probs_and_entropies_equal_those_of_the_full_logits(
    inputs: Case, temperature: float, chunk: int
) -> None:
    log_probs, entropies = linear_logprob(
        inputs.hidden,
        inputs.head,
        inputs.ids,
        vocabulary=inputs.vocabulary,
        temperature=temperature,
        chunk=chunk,
    )
    full = (inputs.full_logits() / temperature).log_softmax(-1)
    expected_log_probs, expected_entropies = (
        full.gather(1, inputs.ids[:, None])[:, 0],
        -(full.exp() * full).sum(-1),
    )
    torch.testing.assert_close(log_probs, expected_log_probs)
    torch.testing.assert_close(entropies, expected_entropies)
    mixed = (inputs.coefficients * log_probs).sum() + (entropies**2).sum()
    expected = (inputs.coefficients * expected_log_probs).sum() + (expected_entropies**2).sum()
    for gradient, reference in zip(
        torch.autograd.grad(mixed, inputs.tensors()),
        torch.autograd.grad(expected, inputs.tensors()),
        strict=True,
    ):
        torch.testing.assert_close(gradient, reference, rtol=1e-9, atol=1e-11)


@settings(deadline=None, max_examples=25)
@given(cases)
def test_the_negative_log_prob_is_the_cross_entropy(inputs: Case) -> None:
    log_probs, _ = linear_logprob(
        inputs.hidden, inputs.head, inputs.ids, vocabulary=inputs.vocabulary
    )
    loss, cross_entropy = (
        -log_probs.sum(),
        F.cross_entropy(inputs.full_logits(), inputs.ids, reduction="sum"),
    )
    torch.testing.assert_close(loss, cross_entropy)
    for gradient, expected in zip(
        torch.autograd.grad(loss, inputs.tensors()),
        torch.autograd.grad(cross_entropy, inputs.tensors()),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-11)


def test_autocast_does_not_narrow_the_log_probs() -> None:
    inputs = case(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        log_probs, _ = linear_logprob(
            inputs.hidden, inputs.head, inputs.ids, vocabulary=inputs.vocabulary
        )
    expected = inputs.full_logits().log_softmax(-1).gather(1, inputs.ids[:, None])[:, 0]
    torch.testing.assert_close(log_probs.double(), expected, rtol=1e-5, atol=1e-5)
