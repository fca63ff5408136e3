"""Ratio and policy-gradient losses against published numbers and a plain reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.text.objectives.named import reverse_kl
from tests.trainer.text.objectives.strategies import logit_tables
from tests.trainer.text.objectives.vectors import close
from trainer.text.objectives.policy_gradient import policy_gradient
from trainer.text.objectives.surrogates import clipped_surrogate, is_clipped
from trainer.text.rollouts.importance_weights import importance_weight

STUDENT, OLD = (
    torch.tensor([-1, -0.5, -2, -3, -0.2, -1.5]),
    torch.tensor([-1.1, -0.5, -1.8, -3, -0.4, -1.5]),
)
TEACHER, ADVANTAGES = (
    torch.tensor([-0.4, -2.5, -2, -0.3, -0.4, -4.5]),
    torch.tensor([1.0, 1, 1, -1, -1, -1]),
)
LOW, HIGH = 0.2, 0.28

log_probs = st.floats(-12, 0)
advantages = st.just(0.0) | st.floats(0.01, 3) | st.floats(-3, -0.01)
tokens = st.lists(st.tuples(log_probs, log_probs, advantages), min_size=1, max_size=8)


def gradient(loss_of: Tensor, log_prob: Tensor) -> Tensor:
    return torch.autograd.grad(loss_of.sum(), log_prob)[0]


def test_an_anchor_between_the_old_policy_and_the_teacher() -> None:
    """RLAD at α = ½: objective and gradient of the paper's notes, signs turned."""
    student = STUDENT.clone().requires_grad_()
    loss = clipped_surrogate(student, 0.5 * OLD + 0.5 * TEACHER, ADVANTAGES, LOW, HIGH)
    close(-loss.detach(), [0.7788, 1.28, 0.9048, -0.8, -1.2214, -4.4817], 5e-5)
    close(-gradient(loss, student), [0.7788, 0, 0.9048, 0, -1.2214, -4.4817], 5e-5)
    assert is_clipped(STUDENT, 0.5 * OLD + 0.5 * TEACHER, ADVANTAGES, LOW, HIGH).tolist() == [
        False,
        True,
        False,
        True,
        False,
        False,
    ]


def reference(ratio: float, advantage: float) -> tuple[float, bool]:
    """The pessimistic term, and whether it is the clipped one."""
    clipped = min(max(ratio, 1 - LOW), 1 + HIGH)
    return min(ratio * advantage, clipped * advantage), clipped * advantage < ratio * advantage


@settings(deadline=None, max_examples=50)
@given(tokens)
def test_the_surrogate_is_the_worse_of_both_terms(
    token_rows: list[tuple[float, float, float]],
) -> None:
    student, anchor, advantages = (
        torch.tensor(column, dtype=torch.float64) for column in zip(*token_rows, strict=True)
    )
    student.requires_grad_()
    loss = clipped_surrogate(student, anchor, advantages, LOW, HIGH)
    clip_mask = is_clipped(student, anchor, advantages, LOW, HIGH)
    slopes = gradient(loss, student)
    for index, (log_prob, anchor_log_prob, advantage) in enumerate(token_rows):
        ratio = float(np.exp(log_prob - anchor_log_prob))
        value, clipped = reference(ratio, advantage)
        assert -float(loss.detach()[index]) == pytest.approx(value, rel=1e-9)
        assert bool(clip_mask[index]) == clipped
        assert -float(slopes[index]) == pytest.approx(0 if clipped else ratio * advantage, rel=1e-9)


@settings(deadline=None, max_examples=25)
@given(tokens)
def test_at_a_ratio_of_one_the_gradient_is_the_policy_gradient(
    token_rows: list[tuple[float, float, float]],
) -> None:
    log_prob, teacher, _ = (
        torch.tensor(column, dtype=torch.float64) for column in zip(*token_rows, strict=True)
    )
    log_prob.requires_grad_()
    advantages = (teacher - log_prob).detach()
    on_policy = clipped_surrogate(log_prob, log_prob, advantages, LOW, HIGH)
    torch.testing.assert_close(
        gradient(on_policy, log_prob), gradient(policy_gradient(log_prob, teacher), log_prob)
    )


@settings(deadline=None, max_examples=25)
@given(logit_tables)
def test_the_expected_policy_gradient_is_that_of_the_reverse_kl(logits: Tensor) -> None:
    """Σ_v p_S(v) ∇ loss(v), over every token that could have been sampled."""
    teacher, student = logits[0], logits[1].clone().requires_grad_()
    log_s, log_t = student.log_softmax(-1), teacher.log_softmax(-1)
    expected = gradient(log_s.exp().detach() * policy_gradient(log_s, log_t), student)
    torch.testing.assert_close(gradient(reverse_kl(teacher, student), student), expected)


def test_only_the_students_log_prob_is_differentiated() -> None:
    student, anchor, advantages = (
        tensor.clone().requires_grad_() for tensor in (STUDENT, OLD, ADVANTAGES)
    )
    (
        clipped_surrogate(student, anchor, advantages, LOW, HIGH) + policy_gradient(student, anchor)
    ).sum().backward()
    assert student.grad is not None and anchor.grad is None and advantages.grad is None
    assert not importance_weight(student, anchor).requires_grad


def test_a_ratio_beyond_all_bounds_has_no_gradient_that_is_not_a_number() -> None:
    student = torch.zeros(2, requires_grad=True)
    loss = clipped_surrogate(
        student, torch.full((2,), -500.0), torch.tensor([1.0, -1.0]), LOW, HIGH
    )
    assert loss.isfinite().all()
    assert gradient(loss, student).tolist() == [0, 0]


def test_importance_weights_are_ratios_up_to_a_cap() -> None:
    trainer, behaviour = torch.tensor([-1.0, -1.0, -1.0]), torch.tensor([-1.0, -0.5, -4.0])
    close(importance_weight(trainer, behaviour), [1, 0.6065307, 2])
    close(importance_weight(trainer, behaviour, cap=30), [1, 0.6065307, 20.0855369], 1e-5)
