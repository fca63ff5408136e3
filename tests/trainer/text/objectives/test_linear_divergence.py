"""The chunked operators give the numbers and gradients of the full logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainer.text.heads import Head
from trainer.text.objectives import divergences
from trainer.text.objectives.linear_divergence import TokenStatistics, linear_divergence, tokens_per_chunk
from trainer.text.objectives.linear_logprob import linear_logprob

KINDS = ["forward_kl", "reverse_kl"]


@dataclass
class Case:
    """Random hidden states, a head that may be wider than the vocabulary, a teacher, coefficients with zeros, written ids."""

    hidden: Tensor
    head: Head
    teacher: Tensor
    coefficients: Tensor
    ids: Tensor
    vocabulary: int

    def inputs(self) -> list[Tensor]:
        return [part for part in (self.hidden, *self.head) if part is not None]

    def run(self, kind: Any, temperature: float = 1.0, chunk: int | None = None) -> tuple[Tensor, TokenStatistics]:
        return linear_divergence(
            self.hidden,
            self.head,
            lambda tokens: self.teacher[tokens],
            self.coefficients,
            self.ids,
            kind,
            vocabulary=self.vocabulary,
            temperature=temperature,
            chunk=chunk,
        )

    def reference(self, kind: str, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
        """Loss and per-token divergence by autograd through full logits in float64."""
        student, teacher = self.full_logits(), self.teacher[:, : self.vocabulary].double()
        tokens = getattr(divergences, kind)(teacher, student, temperature)
        return (self.coefficients * tokens).sum(), tokens

    def full_logits(self) -> Tensor:
        bias = None if self.head.bias is None else self.head.bias.double()[: self.vocabulary]
        return torch.nn.functional.linear(self.hidden.double(), self.head.weight.double()[: self.vocabulary], bias)


def case(
    seed: int = 0,
    tokens: int = 13,
    width: int = 6,
    vocabulary: int = 17,
    padding: int = 3,
    bias: bool = True,
    dtype: torch.dtype = torch.float64,
) -> Case:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(*shape, generator=generator, dtype=torch.float64) * scale).to(dtype)

    coefficients = torch.rand(tokens, generator=generator, dtype=torch.float64) * (torch.rand(tokens, generator=generator) > 0.3)
    head = Head(normal(vocabulary + padding, width).requires_grad_(), normal(vocabulary + padding).requires_grad_() if bias else None)
    ids = torch.randint(0, vocabulary, (tokens,), generator=generator)
    teacher = normal(tokens, vocabulary + 2 * padding, scale=3.0)
    return Case(normal(tokens, width).requires_grad_(), head, teacher, coefficients, ids, vocabulary)


cases = st.builds(case, st.integers(0, 2**31), st.integers(1, 20), st.integers(1, 8), st.integers(2, 30), st.integers(0, 4), st.booleans())


@settings(deadline=None, max_examples=25)
@given(cases, st.sampled_from(KINDS), st.sampled_from([1.0, 0.7, 2.0]), st.integers(1, 25))
def test_loss_and_gradients_equal_those_of_the_full_logits(one: Case, kind: str, temperature: float, chunk: int) -> None:
    loss, statistics = one.run(kind, temperature, chunk)
    expected_loss, expected_tokens = one.reference(kind, temperature)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(statistics.divergence, expected_tokens.detach(), rtol=1e-10, atol=1e-12)
    gradients = torch.autograd.grad(3 * loss, one.inputs())
    for gradient, expected in zip(gradients, torch.autograd.grad(3 * expected_loss, one.inputs()), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(cases, st.sampled_from(KINDS), st.sampled_from([1.0, 1.7]))
def test_statistics_describe_every_token(one: Case, kind: str, temperature: float) -> None:
    _, statistics = one.run(kind, temperature)
    student = (one.full_logits() / temperature).log_softmax(-1).detach()
    teacher = (one.teacher[:, : one.vocabulary] / temperature).log_softmax(-1)
    torch.testing.assert_close(statistics.entropy, -(student.exp() * student).sum(-1))
    torch.testing.assert_close(statistics.student_logprob, student.gather(1, one.ids[:, None])[:, 0])
    torch.testing.assert_close(statistics.teacher_logprob, teacher.gather(1, one.ids[:, None])[:, 0])
    assert torch.equal(statistics.student_top, student.argmax(-1))
    assert torch.equal(statistics.teacher_top, teacher.argmax(-1))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_beyond_the_vocabulary_get_no_gradient(kind: str) -> None:
    one = case(padding=4)
    loss, _ = one.run(kind)
    loss.backward()
    assert one.head.weight.grad is not None
    assert not one.head.weight.grad[one.vocabulary :].any()
    assert one.head.weight.grad[: one.vocabulary].any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_tied_embedding_collects_both_gradients(kind: str) -> None:
    """The head's weight also embeds the inputs: its gradient is the sum of both uses."""
    one = case(bias=False, padding=0)

    def gradient(reference: bool) -> Tensor:
        one.hidden = one.head.weight[one.ids].tanh()
        loss = one.reference(kind)[0] if reference else one.run(kind)[0]
        return torch.autograd.grad(loss, one.head.weight)[0]

    torch.testing.assert_close(gradient(reference=False), gradient(reference=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_head_still_passes_the_gradient_to_the_hidden_states(kind: str) -> None:
    one = case()
    frozen = Case(one.hidden, Head(one.head.weight.detach(), None), one.teacher, one.coefficients, one.ids, one.vocabulary)
    (gradient,) = torch.autograd.grad(frozen.run(kind)[0], frozen.hidden)
    torch.testing.assert_close(gradient, torch.autograd.grad(frozen.reference(kind)[0], frozen.hidden)[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_narrow_formats_are_exact_to_their_rounding(kind: str, dtype: torch.dtype, tolerance: float) -> None:
    one = case(tokens=40, width=16, vocabulary=50, dtype=dtype)
    loss, statistics = one.run(kind, chunk=7)
    assert statistics.divergence.dtype == torch.float32
    gradients = torch.autograd.grad(loss, one.inputs())
    expected_loss, _ = one.reference(kind)
    for gradient, expected in zip(gradients, torch.autograd.grad(expected_loss, one.inputs()), strict=True):
        assert gradient.dtype == dtype
        scale = expected.double().abs().max().item()
        torch.testing.assert_close(gradient.double(), expected.double(), rtol=0, atol=tolerance * scale)


def test_nothing_is_differentiated_without_gradients() -> None:
    one = case()
    with torch.no_grad():
        loss, statistics = one.run("forward_kl")
    assert not loss.requires_grad
    torch.testing.assert_close(statistics.divergence, one.reference("forward_kl")[1].detach())


def test_a_second_backward_is_refused_with_a_sentence() -> None:
    loss, _ = case().run("forward_kl")
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="compute it again"):
        loss.backward()


def test_the_teachers_logits_are_left_as_they_were() -> None:
    one = case(padding=0)
    before = one.teacher.clone()
    one.run("forward_kl")
    one.run("reverse_kl")
    assert torch.equal(one.teacher, before)


def test_chunks_shrink_as_the_vocabulary_grows() -> None:
    assert tokens_per_chunk(151_936) == 64
    assert tokens_per_chunk(67) > 100_000
    assert tokens_per_chunk(10_000_000) == 16


@settings(deadline=None, max_examples=25)
@given(cases, st.integers(1, 25))
def test_log_probs_and_entropies_equal_those_of_the_full_logits(one: Case, chunk: int) -> None:
    log_probs, entropies = linear_logprob(one.hidden, one.head, one.ids, vocabulary=one.vocabulary, chunk=chunk)
    full = one.full_logits().log_softmax(-1)
    expected_log_probs, expected_entropies = full.gather(1, one.ids[:, None])[:, 0], -(full.exp() * full).sum(-1)
    torch.testing.assert_close(log_probs, expected_log_probs)
    torch.testing.assert_close(entropies, expected_entropies)
    mixed = (one.coefficients * log_probs).sum() + (entropies**2).sum()
    expected = (one.coefficients * expected_log_probs).sum() + (expected_entropies**2).sum()
    for gradient, reference in zip(torch.autograd.grad(mixed, one.inputs()), torch.autograd.grad(expected, one.inputs()), strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-9, atol=1e-11)
