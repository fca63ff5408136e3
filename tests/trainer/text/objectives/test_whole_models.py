"""From ids to the gradient of the student: against the models' own logits, and whatever the
micro-batches.
"""

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
from trainer.spec.objectives import JSD, AdaptiveKL, Divergence, ForwardKL, ReverseKL
from trainer.spec.sampling import Sampling
from trainer.text.language.heads import check_head, head_of
from trainer.text.language.model_folders import ModelError
from trainer.text.language.models import LanguageModel
from trainer.text.objectives.batch import Row, completion_ids, micro_batches, response_hidden
from trainer.text.objectives.divergences import divergence_of
from trainer.text.objectives.linear_divergence import (
    TeacherLogits,
    TokenStatistics,
    linear_divergence,
    score_tokens,
)
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


def teacher_logits(teacher: LanguageModel, some: list[Row]) -> TeacherLogits:
    with torch.no_grad():
        hidden = response_hidden(teacher, some)
        return lambda tokens: head_of(teacher.model).logits(hidden[tokens], VOCABULARY).detach()


def divergence(
    student: LanguageModel,
    teacher: LanguageModel,
    some: list[Row],
    coefficients: Tensor,
    objective: Divergence,
) -> tuple[Tensor, TokenStatistics]:
    return linear_divergence(
        response_hidden(student, some),
        head_of(student.model),
        teacher_logits(teacher, some),
        coefficients,
        completion_ids(some),
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
    for ours, expected in zip(
        gradients(loss, student),
        gradients((coefficients * expected_tokens).sum(), student),
        strict=True,
    ):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("objective", KINDS, ids=lambda objective: objective.kind)
def test_micro_batches_give_the_gradient_of_the_whole_batch(objective: Divergence) -> None:
    student, teacher = pair()
    coefficients = [
        torch.full((len(completion),), float(place + 1), dtype=torch.float64)
        for place, (_, completion) in enumerate(rows())
    ]
    whole = gradients(
        divergence(student, teacher, rows(), torch.cat(coefficients), objective)[0], student
    )
    summed = [torch.zeros_like(part) for part in whole]
    groups = micro_batches(rows(), 14)
    assert len(groups) > 1
    for group in groups:
        weights = torch.cat([coefficients[place] for place in group])
        loss, _ = divergence(
            student, teacher, [rows()[place] for place in group], weights, objective
        )
        for total, part in zip(summed, gradients(loss, student), strict=True):
            total += part
    for total, part in zip(summed, whole, strict=True):
        torch.testing.assert_close(total, part, rtol=1e-6, atol=1e-9)


def test_a_student_equal_to_its_teacher_has_no_divergence_and_no_gradient() -> None:
    student, _ = pair()
    ones = torch.ones(sum(len(completion) for _, completion in rows()), dtype=torch.float64)
    loss, statistics = divergence(student, student, rows(), ones, ReverseKL())
    assert statistics.divergence.abs().max() < 1e-12
    assert max(float(part.abs().max()) for part in gradients(loss, student)) < 1e-8


def test_scores_agree_with_what_the_sampler_remembers() -> None:
    student, teacher = pair()
    (answer,) = sample(
        student, [SampleRequest("p", (3, 4, 5), (0,))], Sampling(max_new_tokens=20), Noise(0, 0)
    )
    read: list[Row] = [(answer.prompt, answer.ids)]
    hidden, ids = response_hidden(student, read), completion_ids(read)
    tokens = score_tokens(
        hidden, head_of(student.model), teacher_logits(teacher, read), ids, vocabulary=VOCABULARY
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
    made: list[Row] = [((0,) * prompt, (0,) * completion) for prompt, completion in shapes]
    groups = micro_batches(made, budget)
    assert sorted(place for group in groups for place in group) == list(range(len(made)))
    for group in groups:
        padded = len(group) * max(sum(shapes[place]) - 1 for place in group)
        assert padded <= budget or len(group) == 1


def test_a_model_with_capped_logits_is_refused() -> None:
    model = dataclasses.replace(language_model()).model
    head: Any = model.get_output_embeddings()
    hook = head.register_forward_hook(lambda _module, _inputs, logits: 5 * torch.tanh(logits / 5))
    with pytest.raises(ModelError, match="not a plain linear function"):
        check_head(model, "capped")
    hook.remove()
    check_head(model, "plain")
