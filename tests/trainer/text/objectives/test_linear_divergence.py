"""The chunked operator gives the numbers and gradients of the full logits, for every kind."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.text.objectives.cases import Case, case, cases
from tests.trainer.text.objectives.named import forward_kl, reverse_kl
from tests.trainer.text.objectives.strategies import cuts, objectives, temperatures, vocabularies
from trainer.spec import (
    JSD,
    AdaptiveKL,
    AllLogits,
    Clip,
    Divergence,
    ForwardKL,
    NoClip,
    ReverseKL,
    SkewedKL,
    TopLogits,
)
from trainer.text.language.heads import Head
from trainer.text.lm_head.chunks import tokens_per_chunk
from trainer.text.lm_head.linear_divergence import score_tokens
from trainer.text.objectives.divergences import divergence_of, kl_entries, log_distributions

KINDS: list[Divergence] = [
    ForwardKL(),
    ReverseKL(),
    JSD(beta=0.5),
    SkewedKL(alpha=0.1),
    SkewedKL(alpha=0.1, direction="reverse"),
    AdaptiveKL(),
    ForwardKL(clip=Clip(scope="entry", limit=0.05)),
    ReverseKL(vocabulary=TopLogits(k=5, of="teacher", rest="tail")),
    ForwardKL(vocabulary=TopLogits(k=5, of="student", rest="renormalise")),
]
all_kinds = pytest.mark.parametrize(
    "objective",
    KINDS,
    ids=lambda objective: f"{objective.kind}-{objective.clip.kind}-{objective.vocabulary.kind}",
)


@settings(deadline=None, max_examples=80)
@given(cases, objectives, st.integers(1, 25))
def test_loss_and_gradients_equal_those_of_the_full_logits(
    inputs: Case, objective: Divergence, chunk: int
) -> None:
    loss, statistics = inputs.run(objective, chunk)
    expected_loss, expected_tokens = inputs.reference(objective)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        statistics.divergence, expected_tokens.detach(), rtol=1e-10, atol=1e-12
    )
    gradients = torch.autograd.grad(3 * loss, inputs.tensors())
    for gradient, expected in zip(
        gradients, torch.autograd.grad(3 * expected_loss, inputs.tensors()), strict=True
    ):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-11)


@settings(deadline=None, max_examples=25)
@given(cases, objectives, st.integers(1, 25))
def test_the_size_of_chunks_changes_nothing(
    inputs: Case, objective: Divergence, chunk: int
) -> None:
    whole_result, chunked_result = inputs.run(objective, 100), inputs.run(objective, chunk)
    torch.testing.assert_close(chunked_result[0], whole_result[0], rtol=1e-11, atol=1e-13)
    for gradient, expected in zip(
        *(
            torch.autograd.grad(loss, inputs.tensors())
            for loss, _ in (chunked_result, whole_result)
        ),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected, rtol=1e-11, atol=1e-12)
    for column in fields(chunked_result[1]):
        torch.testing.assert_close(
            getattr(chunked_result[1], column.name),
            getattr(whole_result[1], column.name),
            rtol=1e-11,
            atol=1e-12,
        )


def test_a_chunk_larger_than_the_cache_is_processed_in_parts() -> None:
    """A chunk of more entries than fit the cache: 40 tokens of a vocabulary of 30,011."""
    inputs, objective = (
        case(tokens=40, width=2, vocabulary=30_011, padding=1),
        JSD(beta=0.3, vocabulary=TopLogits(k=7, rest="tail")),
    )
    loss, statistics = inputs.run(objective)
    expected_loss, expected_tokens = inputs.reference(objective)
    torch.testing.assert_close(statistics.divergence, expected_tokens.detach())
    for gradient, expected in zip(
        *(torch.autograd.grad(total, inputs.tensors()) for total in (loss, expected_loss)),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected, rtol=1e-8, atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(cases, st.sampled_from([ForwardKL, ReverseKL]), temperatures, vocabularies)
def test_statistics_describe_every_token(
    inputs: Case,
    kind: type[ForwardKL | ReverseKL],
    temperature: float,
    vocabulary: AllLogits | TopLogits,
) -> None:
    """All but the divergence are over the whole vocabulary, whatever is compared."""
    _, statistics = inputs.run(kind(temperature=temperature, vocabulary=vocabulary))
    student = (inputs.full_logits() / temperature).log_softmax(-1).detach()
    teacher = (inputs.teacher[:, : inputs.vocabulary] / temperature).log_softmax(-1)
    torch.testing.assert_close(statistics.entropy, -(student.exp() * student).sum(-1))
    torch.testing.assert_close(
        statistics.student_logprob, student.gather(1, inputs.ids[:, None])[:, 0]
    )
    torch.testing.assert_close(
        statistics.teacher_logprob, teacher.gather(1, inputs.ids[:, None])[:, 0]
    )
    assert torch.equal(statistics.student_top, student.argmax(-1))
    assert torch.equal(statistics.teacher_top, teacher.argmax(-1))


@settings(deadline=None, max_examples=25)
@given(cases, st.booleans(), cuts, vocabularies)
def test_the_capped_share_counts_what_the_clip_cuts(
    inputs: Case, forward: bool, clip: Clip, vocabulary: AllLogits | TopLogits
) -> None:
    objective = (ForwardKL if forward else ReverseKL)(clip=clip, vocabulary=vocabulary)
    log_t, log_s = log_distributions(
        inputs.teacher_logits(), inputs.full_logits().detach(), 1.0, vocabulary
    )
    entries = kl_entries(log_t, log_s, clip) if forward else kl_entries(log_s, log_t, clip)
    is_clipped = (entries.sum(-1) > clip.limit) if clip.scope == "token" else (entries > clip.limit)
    expected = is_clipped.double() if clip.scope == "token" else is_clipped.double().mean(-1)
    torch.testing.assert_close(inputs.run(objective)[1].capped, expected)
    assert not inputs.run(objective.model_copy(update={"clip": NoClip()}))[1].capped.any()


@settings(deadline=None, max_examples=25)
@given(cases, objectives)
def test_tokens_left_out_have_the_gradient_of_a_coefficient_of_zero(
    inputs: Case, objective: Divergence
) -> None:
    """Hidden states of kept tokens alone through the head, as a selection of tokens needs it."""
    is_kept = inputs.coefficients != 0
    kept_inputs = Case(
        inputs.hidden[is_kept],
        inputs.head,
        inputs.teacher[is_kept],
        inputs.coefficients[is_kept],
        inputs.ids[is_kept],
        inputs.vocabulary,
    )
    loss, statistics = kept_inputs.run(objective)
    whole_loss, whole_statistics = inputs.run(objective)
    torch.testing.assert_close(loss, whole_loss, rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(statistics.divergence, whole_statistics.divergence[is_kept])
    for gradient, expected in zip(
        *(torch.autograd.grad(total, inputs.tensors()) for total in (loss, whole_loss)), strict=True
    ):
        torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(cases, temperatures, st.integers(1, 25))
def test_scores_are_both_directions_without_a_gradient(
    inputs: Case, temperature: float, chunk: int
) -> None:
    scores = score_tokens(
        inputs.hidden,
        inputs.head,
        lambda tokens: inputs.teacher[tokens],
        inputs.ids,
        vocabulary=inputs.vocabulary,
        temperature=temperature,
        chunk=chunk,
    )
    _, statistics = inputs.run(ReverseKL(temperature=temperature))
    torch.testing.assert_close(scores.reverse_kl, statistics.divergence)
    torch.testing.assert_close(
        scores.forward_kl, inputs.run(ForwardKL(temperature=temperature))[1].divergence
    )
    for name in ("entropy", "student_logprob", "teacher_logprob", "student_top", "teacher_top"):
        torch.testing.assert_close(getattr(scores, name), getattr(statistics, name))
    assert not any(getattr(scores, column.name).requires_grad for column in fields(scores))


def test_scores_of_equal_models_are_not_below_zero() -> None:
    inputs = case(tokens=500, dtype=torch.float32, padding=0)
    same = inputs.full_logits().float().detach()
    scores = score_tokens(
        inputs.hidden,
        inputs.head,
        lambda tokens: same[tokens],
        inputs.ids,
        vocabulary=inputs.vocabulary,
    )
    for values in (scores.reverse_kl, scores.forward_kl):
        assert float(values.min()) >= 0 and float(values.max()) < 1e-5


@all_kinds
def test_rows_beyond_the_vocabulary_get_no_gradient(objective: Divergence) -> None:
    inputs = case(padding=4)
    loss, _ = inputs.run(objective)
    loss.backward()
    assert inputs.head.weight.grad is not None
    assert not inputs.head.weight.grad[inputs.vocabulary :].any()
    assert inputs.head.weight.grad[: inputs.vocabulary].any()


@pytest.mark.parametrize("objective", KINDS[:2], ids=["forward", "reverse"])
def test_a_tied_embedding_collects_both_gradients(objective: Divergence) -> None:
    """The head's weight also embeds the inputs: its gradient is the sum of both uses."""
    inputs = case(bias=False, padding=0)

    def gradient(reference: bool) -> Tensor:
        inputs.hidden = inputs.head.weight[inputs.ids].tanh()
        loss = inputs.reference(objective)[0] if reference else inputs.run(objective)[0]
        return torch.autograd.grad(loss, inputs.head.weight)[0]

    torch.testing.assert_close(gradient(reference=False), gradient(reference=True))


@all_kinds
def test_a_frozen_head_still_passes_the_gradient_to_the_hidden_states(
    objective: Divergence,
) -> None:
    inputs = case()
    frozen = Case(
        inputs.hidden,
        Head(inputs.head.weight.detach(), None),
        inputs.teacher,
        inputs.coefficients,
        inputs.ids,
        inputs.vocabulary,
    )
    (gradient,) = torch.autograd.grad(frozen.run(objective)[0], frozen.hidden)
    torch.testing.assert_close(
        gradient, torch.autograd.grad(frozen.reference(objective)[0], frozen.hidden)[0]
    )


@all_kinds
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_narrow_formats_are_exact_to_their_rounding(
    objective: Divergence, dtype: torch.dtype, tolerance: float
) -> None:
    inputs = case(tokens=40, width=16, vocabulary=50, dtype=dtype)
    loss, statistics = inputs.run(objective, chunk=7)
    assert statistics.divergence.dtype == torch.float32
    gradients = torch.autograd.grad(loss, inputs.tensors())
    # Clip and choice of top tokens jump: the reference makes them on the same rounded logits.
    assert inputs.head.bias is not None
    logits = torch.nn.functional.linear(
        inputs.hidden,
        inputs.head.weight[: inputs.vocabulary],
        inputs.head.bias[: inputs.vocabulary],
    )
    leaf = logits.detach().double().requires_grad_()
    expected_loss = (
        inputs.coefficients * divergence_of(objective, inputs.teacher_logits(), leaf)
    ).sum()
    logits.backward(torch.autograd.grad(expected_loss, leaf)[0].to(dtype))
    for gradient, tensor in zip(gradients, inputs.tensors(), strict=True):
        assert gradient.dtype == dtype and tensor.grad is not None
        torch.testing.assert_close(
            gradient.double(),
            tensor.grad.double(),
            rtol=0,
            atol=tolerance * tensor.grad.abs().max().item(),
        )


def test_nothing_is_differentiated_without_gradients() -> None:
    inputs = case()
    with torch.no_grad():
        loss, statistics = inputs.run(ForwardKL())
    assert not loss.requires_grad
    torch.testing.assert_close(statistics.divergence, inputs.reference(ForwardKL())[1].detach())


def test_a_second_backward_raises_a_clear_error() -> None:
    loss, _ = case().run(ForwardKL())
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="compute it again"):
        loss.backward()


@all_kinds
def test_the_teachers_logits_are_left_as_they_were(objective: Divergence) -> None:
    inputs = case(padding=0)
    before = inputs.teacher.clone()
    inputs.run(objective)
    assert torch.equal(inputs.teacher, before)


def test_autocast_does_not_narrow_the_divergence() -> None:
    inputs = case(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = inputs.run(ReverseKL())
        scores = score_tokens(
            inputs.hidden,
            inputs.head,
            lambda tokens: inputs.teacher[tokens],
            inputs.ids,
            vocabulary=inputs.vocabulary,
        )
    expected_loss, _ = inputs.reference(ReverseKL())
    torch.testing.assert_close(loss.double(), expected_loss, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        scores.reverse_kl.double(),
        reverse_kl(inputs.teacher_logits(), inputs.full_logits()).detach(),
        rtol=1e-4,
        atol=1e-5,
    )
    torch.testing.assert_close(
        scores.forward_kl.double(),
        forward_kl(inputs.teacher_logits(), inputs.full_logits()).detach(),
        rtol=1e-4,
        atol=1e-5,
    )


def test_no_tokens_give_a_loss_and_gradients_of_zero() -> None:
    inputs = case(tokens=0)
    loss, _ = inputs.run(ReverseKL())
    assert float(loss.detach()) == 0
    assert not any(gradient.any() for gradient in torch.autograd.grad(loss, inputs.tensors()))


def test_chunks_shrink_as_the_vocabulary_grows() -> None:
    assert tokens_per_chunk(151_936) == 64
    assert tokens_per_chunk(67) > 100_000
    assert tokens_per_chunk(10_000_000) == 16
