"""From ids to the student's gradient, compared with the models' own logits."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.text.tiny import VOCABULARY, language_model
from trainer.spec import JSD, AdaptiveKL, Divergence, ForwardKL, ReverseKL
from trainer.spec.sampling import Sampling
from trainer.text.language.heads import check_head, head_of
from trainer.text.language.hidden_states import Row, completion_ids, micro_batches, response_hidden
from trainer.text.language.model_folders import ModelError
from trainer.text.language.models import LanguageModel
from trainer.text.lm_head.linear_divergence import (
    TeacherLogits,
    TokenStatistics,
    linear_divergence,
    score_tokens,
)
from trainer.text.objectives.divergences import divergence_of
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.engines.sampling import sample
from trainer.text.rollouts.records import SampleRequest

KINDS: list[Divergence] = [ForwardKL(), ReverseKL(), JSD(), AdaptiveKL(temperature=1.5)]


def rows() -> list[Row]:
    generator = np.random.default_rng(3)
    lengths = [(4, 7), (1, 1), (9, 3), (2, 12)]
    return [
        (
            tuple(generator.integers(0, VOCABULARY, prompt).tolist()),
            tuple(generator.integers(0, VOCABULARY, completion).tolist()),
        )
        for prompt, completion in lengths
    ]


def pair(dtype: str = "float64") -> tuple[LanguageModel, LanguageModel]:
    return language_model("qwen2", dtype), language_model(
        "llama", dtype, seed=1, vocab_size=64, hidden_size=48
    )


def gradients(loss: Tensor, model: LanguageModel) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(model.model.parameters())))


def teacher_logits(teacher: LanguageModel, batch: list[Row]) -> TeacherLogits:
    with torch.no_grad():
        hidden = response_hidden(teacher, batch)
        return lambda tokens: head_of(teacher.model).logits(hidden[tokens], VOCABULARY).detach()


def divergence(
    student: LanguageModel,
    teacher: LanguageModel,
    batch: list[Row],
    coefficients: Tensor,
    objective: Divergence,
) -> tuple[Tensor, TokenStatistics]:
    return linear_divergence(
        response_hidden(student, batch),
        head_of(student.model),
        teacher_logits(teacher, batch),
        coefficients,
        completion_ids(batch),
        objective,
        vocabulary=VOCABULARY,
    )


def full_logits(model: LanguageModel, row: Row) -> Tensor:
    """Logits that predict the completion's tokens, one row at a time: no padding, no chunks."""
    prompt, completion = row
    network: Any = model.model
    logits: Tensor = network(torch.tensor([[*prompt, *completion]])).logits[
        0, len(prompt) - 1 : -1, :VOCABULARY
    ]
    return logits


@pytest.mark.parametrize("objective", KINDS, ids=lambda objective: objective.kind)
def test_loss_and_gradient_equal_those_through_the_models_own_logits(objective: Divergence) -> None:
    student, teacher = pair()
    coefficients = torch.linspace(
        0, 1, sum(len(completion) for _, completion in rows()), dtype=torch.float64
    )
    loss, statistics = divergence(student, teacher, rows(), coefficients, objective)
    student_logits = torch.cat([full_logits(student, row) for row in rows()])
    expected_tokens = divergence_of(
        objective, torch.cat([full_logits(teacher, row) for row in rows()]), student_logits
    )
    torch.testing.assert_close(
        statistics.divergence, expected_tokens.detach(), rtol=1e-6, atol=1e-9
    )
    for gradient, expected in zip(
        gradients(loss, student),
        gradients((coefficients * expected_tokens).sum(), student),
        strict=True,
    ):
        torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("objective", KINDS, ids=lambda objective: objective.kind)
def test_micro_batches_give_the_gradient_of_the_whole_batch(objective: Divergence) -> None:
    student, teacher = pair()
    coefficients = [
        torch.full((len(completion),), float(index + 1), dtype=torch.float64)
        for index, (_, completion) in enumerate(rows())
    ]
    batch_gradients = gradients(
        divergence(student, teacher, rows(), torch.cat(coefficients), objective)[0], student
    )
    summed = [torch.zeros_like(gradient) for gradient in batch_gradients]
    groups = micro_batches(rows(), 14)
    assert len(groups) > 1
    for group in groups:
        weights = torch.cat([coefficients[index] for index in group])
        loss, _ = divergence(
            student, teacher, [rows()[index] for index in group], weights, objective
        )
        for total, gradient in zip(summed, gradients(loss, student), strict=True):
            total += gradient
    for total, gradient in zip(summed, batch_gradients, strict=True):
        torch.testing.assert_close(total, gradient, rtol=1e-6, atol=1e-9)


def test_a_student_equal_to_its_teacher_has_no_divergence_and_no_gradient() -> None:
    student, _ = pair()
    coefficients = torch.ones(sum(len(completion) for _, completion in rows()), dtype=torch.float64)
    loss, statistics = divergence(student, student, rows(), coefficients, ReverseKL())
    assert statistics.divergence.abs().max() < 1e-12
    assert max(float(gradient.abs().max()) for gradient in gradients(loss, student)) < 1e-8


def test_scores_agree_with_the_log_probs_of_the_sampler() -> None:
    student, teacher = pair()
    (answer,) = sample(
        student, [SampleRequest("p", (3, 4, 5), (0,))], Sampling(max_new_tokens=20), Noise(0, 0)
    )
    rows_read: list[Row] = [(answer.prompt, answer.ids)]
    hidden, ids = response_hidden(student, rows_read), completion_ids(rows_read)
    tokens = score_tokens(
        hidden,
        head_of(student.model),
        teacher_logits(teacher, rows_read),
        ids,
        vocabulary=VOCABULARY,
    )
    np.testing.assert_allclose(tokens.student_logprob, answer.logprobs, atol=1e-5)
    np.testing.assert_allclose(tokens.entropy, answer.entropies, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=20),
    st.integers(1, 200),
)
def test_micro_batches_hold_every_row_once_within_the_budget(
    shapes: list[tuple[int, int]], budget: int
) -> None:
    rows_of_zeros: list[Row] = [((0,) * prompt, (0,) * completion) for prompt, completion in shapes]
    groups = micro_batches(rows_of_zeros, budget)
    assert sorted(index for group in groups for index in group) == list(range(len(rows_of_zeros)))
    for group in groups:
        padded = len(group) * max(sum(shapes[index]) - 1 for index in group)
        assert padded <= budget or len(group) == 1


def test_a_model_with_capped_logits_is_refused() -> None:
    model = dataclasses.replace(language_model()).model
    head: Any = model.get_output_embeddings()
    hook = head.register_forward_hook(lambda _module, _inputs, logits: 5 * torch.tanh(logits / 5))
    with pytest.raises(ModelError, match="not a plain linear function"):
        check_head(model, "capped")
    hook.remove()
    check_head(model, "plain")
