"""The divergences agree with published values and with the identities that define them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainer.text.objectives.divergences import entropy, forward_kl, reverse_kl

A_STUDENT = torch.tensor([[2, 0, 0, 0], [0, 0, 0, 0], [5, 0, 0, 0], [5, 0, 0, 0], [1, 1, -1, -1]], dtype=torch.float64)
A_TEACHER = torch.tensor([[1, 1, 0, 0], [3, 0, 0, 0], [0, 5, 0, 0], [5, 0, 0, 0], [1, 1, -1, -1]], dtype=torch.float64)
B_STUDENT = torch.tensor([[2, 1, 0, -1, -2], [0, 0.1, 0.2, 0.3, 0.4], [6, 1, 0.5, 0, -0.5]], dtype=torch.float64)
B_TEACHER = torch.tensor([[1, 2, 0.5, -0.5, -3], [3, 1, 0, -1, -2], [0.5, 5, 1, 0, -1]], dtype=torch.float64)


def close(actual: Tensor, expected: list[float], tolerance: float = 2e-6) -> None:
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=actual.dtype), atol=tolerance, rtol=0)


def test_reference_values_of_four_tokens() -> None:
    close(reverse_kl(A_TEACHER, A_STUDENT), [0.280635, 1.002912, 4.867911, 0, 0])
    close(forward_kl(A_TEACHER, A_STUDENT), [0.334344, 0.857234, 4.867911, 0, 0])
    close(entropy(A_STUDENT) / torch.tensor(4.0).log(), [0.662402, 1, 0.085897, 0.085897, 0.763533])
    assert float(forward_kl(A_TEACHER, A_STUDENT).mean()) == pytest.approx(1.211898, abs=2e-6)
    assert float(reverse_kl(A_TEACHER, A_STUDENT).mean()) == pytest.approx(1.230292, abs=2e-6)
    assert float(forward_kl(A_TEACHER, A_STUDENT, temperature=2).mean()) == pytest.approx(0.438032, abs=2e-6)
    assert float(reverse_kl(A_TEACHER, A_STUDENT, temperature=2).mean()) == pytest.approx(0.433262, abs=2e-6)


def test_reference_values_of_five_tokens() -> None:
    close(reverse_kl(B_TEACHER, B_STUDENT), [0.421816, 1.628282, 4.415134])
    close(forward_kl(B_TEACHER, B_STUDENT), [0.396356, 1.167011, 4.776768])
    close(entropy(B_STUDENT) / torch.tensor(5.0).log(), [0.621318, 0.993827, 0.058611])
    assert float(forward_kl(B_TEACHER, B_STUDENT, temperature=1.1).mean()) == pytest.approx(1.872178, abs=2e-6)
    assert float(reverse_kl(B_TEACHER, B_STUDENT, temperature=1.1).mean()) == pytest.approx(1.895667, abs=2e-6)


def test_the_forward_gradient_of_the_reference_row() -> None:
    student = B_STUDENT.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(forward_kl(B_TEACHER, student).sum(), student)
    close(gradient[1], [-0.6642, 0.0673, 0.1569, 0.2037, 0.2363], 5e-5)


def logit_table(seed: int) -> Tensor:
    return torch.randn(2, 6, 9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


logit_tables = st.integers(0, 2**31).map(logit_table)


@settings(deadline=None, max_examples=25)
@given(logit_tables)
def test_the_forward_gradient_is_student_minus_teacher(logits: Tensor) -> None:
    teacher, student = logits[0], logits[1].requires_grad_()
    (gradient,) = torch.autograd.grad(forward_kl(teacher, student).sum(), student)
    torch.testing.assert_close(gradient, student.softmax(-1).detach() - teacher.softmax(-1))


@settings(deadline=None, max_examples=25)
@given(logit_tables)
def test_the_reverse_gradient_is_the_expected_policy_gradient(logits: Tensor) -> None:
    """∇ reverse KL = E_{v ~ p_S}[−A_v ∇ log p_S(v)] with the advantage A_v = log p_T(v) − log p_S(v)."""
    teacher, student = logits[0], logits[1].requires_grad_()
    (gradient,) = torch.autograd.grad(reverse_kl(teacher, student).sum(), student)
    log_p = student.log_softmax(-1)
    advantage = (teacher.log_softmax(-1) - log_p).detach()
    (expected,) = torch.autograd.grad(-(log_p.exp().detach() * advantage * log_p).sum(), student)
    torch.testing.assert_close(gradient, expected)


@settings(deadline=None, max_examples=25)
@given(logit_tables, st.floats(0.2, 5))
def test_temperature_divides_the_logits_of_both(logits: Tensor, temperature: float) -> None:
    for kl in (forward_kl, reverse_kl):
        torch.testing.assert_close(kl(logits[0], logits[1], temperature), kl(logits[0] / temperature, logits[1] / temperature))


@settings(deadline=None, max_examples=25)
@given(logit_tables)
def test_divergences_are_positive_and_zero_only_for_equals(logits: Tensor) -> None:
    for kl in (forward_kl, reverse_kl):
        assert (kl(logits[0], logits[1]) > 0).all()
        assert kl(logits[0], logits[0] + 7).abs().max() < 1e-12


@settings(deadline=None, max_examples=25)
@given(logit_tables)
def test_the_two_directions_mirror_each_other(logits: Tensor) -> None:
    torch.testing.assert_close(forward_kl(logits[0], logits[1]), reverse_kl(logits[1], logits[0]))


@pytest.mark.parametrize("kl", [forward_kl, reverse_kl])
def test_no_difference_is_lost_between_nearly_equal_models(kl: Callable[[Tensor, Tensor], Tensor]) -> None:
    """For z_T = z_S + ε·d both directions are ½ ε² Var_p(d) to leading order."""
    student, direction = B_STUDENT, torch.tensor([1.0, -1, 2, 0, 1], dtype=torch.float64)
    law = student.softmax(-1)
    variance = (law * direction**2).sum(-1) - (law * direction).sum(-1) ** 2
    torch.testing.assert_close(kl(student + 1e-4 * direction, student), 0.5e-8 * variance, rtol=1e-3, atol=0)
