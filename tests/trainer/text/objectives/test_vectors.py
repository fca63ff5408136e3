"""The divergences equal those of the papers' code (OPSD, TIP, CaOPD, TRL) on fixed logits."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.trainer.text.objectives.named import entropy, forward_kl, jsd, reverse_kl
from tests.trainer.text.objectives.vectors import (
    A_STUDENT,
    A_TEACHER,
    B_STUDENT,
    B_TEACHER,
    C_STUDENT,
    C_TEACHER,
    close,
)
from trainer.spec import Clip, TopLogits

ENTRY, NONNEG = Clip(scope="entry", limit=0.05), Clip(scope="entry_nonneg", limit=0.05)
TEACHER_2 = TopLogits(k=2, of="teacher", rest="renormalise")
STUDENT_2 = TopLogits(k=2, of="student", rest="renormalise")
STUDENT_2_TAIL = TopLogits(k=2, of="student", rest="tail")


def test_four_tokens() -> None:
    close(reverse_kl(A_TEACHER, A_STUDENT), [0.280635, 1.002912, 4.867911, 0, 0])
    close(forward_kl(A_TEACHER, A_STUDENT), [0.334344, 0.857234, 4.867911, 0, 0])
    close(jsd(A_TEACHER, A_STUDENT, 0.5), [0.073277, 0.211609, 0.644343, 0, 0])
    close(jsd(A_TEACHER, A_STUDENT, 0.1), [0.028973, 0.075964, 0.292595, 0, 0])
    close(jsd(A_TEACHER, A_STUDENT, 0.5) / math.log(2), [0.105717, 0.305287, 0.929590, 0, 0])
    close(entropy(A_STUDENT) / math.log(4), [0.662402, 1, 0.085897, 0.085897, 0.763533])


@pytest.mark.parametrize(
    ("beta", "mean", "mean_at_two"),
    [
        (0.0, 1.211898, 0.438032),
        (0.1, 0.079506, 0.036098),
        (0.5, 0.185846, 0.090219),
        (0.9, 0.080619, 0.035764),
        (1.0, 1.230292, 0.433262),
    ],
)
def test_the_convention_of_beta_at_temperatures_one_and_two(
    beta: float, mean: float, mean_at_two: float
) -> None:
    assert float(jsd(A_TEACHER, A_STUDENT, beta).mean()) == pytest.approx(mean, abs=2e-6)
    assert float(jsd(A_TEACHER, A_STUDENT, beta, temperature=2).mean()) == pytest.approx(
        mean_at_two, abs=2e-6
    )


def test_five_tokens() -> None:
    close(reverse_kl(B_TEACHER, B_STUDENT), [0.421816, 1.628282, 4.415134])
    close(forward_kl(B_TEACHER, B_STUDENT), [0.396356, 1.167011, 4.776768])
    close(jsd(B_TEACHER, B_STUDENT, 0.5), [0.098236, 0.279420, 0.634619])
    close(entropy(B_STUDENT) / math.log(5), [0.621318, 0.993827, 0.058611])


@pytest.mark.parametrize(
    ("beta", "full", "hotter", "top", "top_hotter"),
    [
        (0.0, 2.113378, 1.872178, 0.407412, 0.364445),
        (0.5, 0.337425, 0.313763, 0.110526, 0.098860),
        (1.0, 2.155077, 1.895667, 0.604190, 0.521862),
    ],
)
def test_the_teachers_top_two_renormalised(
    beta: float, full: float, hotter: float, top: float, top_hotter: float
) -> None:
    means = [
        jsd(B_TEACHER, B_STUDENT, beta, temperature=temperature).mean()
        for temperature in (1.0, 1.1)
    ]
    means += [
        jsd(B_TEACHER, B_STUDENT, beta, temperature=temperature, vocabulary=TEACHER_2).mean()
        for temperature in (1.0, 1.1)
    ]
    close(torch.stack(means), [full, hotter, top, top_hotter])


def test_the_three_conventions_of_a_top_two_forward_kl() -> None:
    close(forward_kl(B_TEACHER, B_STUDENT, vocabulary=TEACHER_2), [0.462117, 0.367142, 0.392975])
    close(
        forward_kl(B_TEACHER, B_STUDENT, vocabulary=STUDENT_2_TAIL), [0.388907, 0.522776, 4.775170]
    )
    close(forward_kl(B_TEACHER, B_STUDENT, vocabulary=STUDENT_2), [0.462117, 0.135299, 4.891292])


def test_other_divergences_over_a_top_two() -> None:
    close(reverse_kl(B_TEACHER, B_STUDENT, vocabulary=STUDENT_2), [0.462117, 0.146342, 4.440751])
    close(
        reverse_kl(B_TEACHER, B_STUDENT, vocabulary=STUDENT_2_TAIL), [0.413719, 1.174993, 4.414598]
    )
    close(jsd(B_TEACHER, B_STUDENT, 0.5, vocabulary=STUDENT_2_TAIL), [0.096352, 0.157819, 0.634421])
    close(
        jsd(B_TEACHER, B_STUDENT, 0.5, vocabulary=TEACHER_2) / math.log(2),
        [0.160059, 0.144009, 0.174299],
    )


def test_clipped_entries() -> None:
    close(forward_kl(A_TEACHER, A_STUDENT, clip=ENTRY), [-0.103398, -0.177794, 0.016978, 0, 0])
    close(forward_kl(A_TEACHER, A_STUDENT, clip=NONNEG), [0.113488, 0.2, 0.1, 0, 0])
    close(forward_kl(B_TEACHER, B_STUDENT, clip=ENTRY), [-0.116732, -0.128785, 0.035138])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [-0.6642, 0.0673, 0.1569, 0.2037, 0.2363]),
        ({"clip": ENTRY}, [0.0282, -0.0807, -0.0068, 0.0229, 0.0364]),
        ({"clip": NONNEG}, [-0.0109, 0.0553, -0.0133, -0.0147, -0.0163]),
    ],
)
def test_the_gradient_of_a_flat_student_before_a_sure_teacher(
    settings: dict[str, Any], expected: list[float]
) -> None:
    student = B_STUDENT.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(forward_kl(B_TEACHER, student, **settings).sum(), student)
    close(gradient[1], expected, 5e-5)


@pytest.mark.parametrize(
    ("divergence", "value"),
    [
        (forward_kl, 0.811154),
        (reverse_kl, 0.938024),
        (partial(jsd, beta=0.5), 0.199430),
        (partial(jsd, beta=0.25), 0.147997),
    ],
)
def test_three_tokens(divergence: Any, value: float) -> None:
    actual: Tensor = divergence(C_TEACHER, C_STUDENT)
    close(actual, [value])
