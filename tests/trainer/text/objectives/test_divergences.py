"""The divergences satisfy the identities that define them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.text.objectives.named import adaptive_kl, forward_kl, jsd, reverse_kl, skewed_kl
from tests.trainer.text.objectives.strategies import cuts, logit_tables, objectives, tops
from tests.trainer.text.objectives.vectors import B_STUDENT, B_TEACHER
from trainer.spec import AllLogits, Clip, Divergence, NoClip, TopLogits
from trainer.text.objectives.adaptive_kl import teacher_head
from trainer.text.objectives.divergences import divergence_of, log_softmax

inner = st.floats(0.02, 0.98)


def gradient_of(divergence: Callable[[Tensor, Tensor], Tensor], logits: Tensor) -> Tensor:
    student = logits[1].clone().requires_grad_()
    return torch.autograd.grad(divergence(logits[0], student).sum(), student)[0]


def kl(a: Tensor, b: Tensor) -> Tensor:
    return (a * (a / b).log()).sum(-1)


@settings(deadline=None, max_examples=25)
@given(logit_tables)
def test_the_forward_gradient_is_student_minus_teacher(logits: Tensor) -> None:
    torch.testing.assert_close(
        gradient_of(forward_kl, logits), logits[1].softmax(-1) - logits[0].softmax(-1)
    )


@settings(deadline=None, max_examples=25)
@given(logit_tables, st.floats(0.2, 5))
def test_temperature_divides_the_logits_of_both(logits: Tensor, temperature: float) -> None:
    for divergence in (forward_kl, reverse_kl):
        hot, scaled = (
            divergence(logits[0], logits[1], temperature=temperature),
            divergence(logits[0] / temperature, logits[1] / temperature),
        )
        torch.testing.assert_close(hot, scaled)


@settings(deadline=None, max_examples=50)
@given(logit_tables, objectives)
def test_the_temperature_of_every_kind_is_that_of_scaled_logits(
    logits: Tensor, objective: Divergence
) -> None:
    plain = objective.model_copy(update={"temperature": 1.0})
    scaled = divergence_of(plain, *(logits / objective.temperature))
    torch.testing.assert_close(divergence_of(objective, logits[0], logits[1]), scaled)


@settings(deadline=None, max_examples=50)
@given(logit_tables, objectives)
def test_unclipped_divergences_are_positive_and_zero_for_equals(
    logits: Tensor, objective: Divergence
) -> None:
    objective = objective.model_copy(update={"clip": NoClip()})
    assert (divergence_of(objective, logits[0], logits[1]) > -1e-12).all()
    assert divergence_of(objective, logits[0], logits[0] + 7).abs().max() < 1e-12


@settings(deadline=None, max_examples=50)
@given(logit_tables, objectives)
def test_nothing_flows_into_the_teacher(logits: Tensor, objective: Divergence) -> None:
    teacher, student = logits[0].clone().requires_grad_(), logits[1].clone().requires_grad_()
    divergence_of(objective, teacher, student).sum().backward()
    assert teacher.grad is None and student.grad is not None and student.grad.isfinite().all()


@settings(deadline=None, max_examples=25)
@given(logit_tables, inner)
def test_the_two_directions_mirror_each_other(logits: Tensor, share: float) -> None:
    torch.testing.assert_close(forward_kl(logits[0], logits[1]), reverse_kl(logits[1], logits[0]))
    torch.testing.assert_close(
        jsd(logits[0], logits[1], share), jsd(logits[1], logits[0], 1 - share)
    )
    torch.testing.assert_close(
        skewed_kl(logits[0], logits[1], share), skewed_kl(logits[1], logits[0], share, "reverse")
    )


@settings(deadline=None, max_examples=25)
@given(logit_tables)
def test_both_ends_of_beta_and_a_skew_of_zero_are_the_plain_divergences(logits: Tensor) -> None:
    teacher, student = logits
    assert torch.equal(jsd(teacher, student, 0.0), forward_kl(teacher, student))
    assert torch.equal(jsd(teacher, student, 1.0), reverse_kl(teacher, student))
    torch.testing.assert_close(
        skewed_kl(teacher, student, 0.0, "forward"), forward_kl(teacher, student)
    )
    torch.testing.assert_close(
        skewed_kl(teacher, student, 0.0, "reverse"), reverse_kl(teacher, student)
    )


def test_the_ends_of_beta_are_limits_only_of_the_scaled_divergence() -> None:
    assert jsd(B_TEACHER, B_STUDENT, 1e-9).max() < 1e-7
    torch.testing.assert_close(
        jsd(B_TEACHER, B_STUDENT, 1e-7) / 1e-7, forward_kl(B_TEACHER, B_STUDENT), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(
        jsd(B_TEACHER, B_STUDENT, 1 - 1e-7) / 1e-7,
        reverse_kl(B_TEACHER, B_STUDENT),
        rtol=1e-4,
        atol=0,
    )


@settings(deadline=None, max_examples=25)
@given(logit_tables, inner)
def test_mixtures_are_those_of_the_probabilities(logits: Tensor, share: float) -> None:
    t, s = logits.softmax(-1)
    m = share * t + (1 - share) * s
    torch.testing.assert_close(
        jsd(logits[0], logits[1], share), share * kl(t, m) + (1 - share) * kl(s, m)
    )
    torch.testing.assert_close(skewed_kl(logits[0], logits[1], share, "forward"), kl(t, m))
    torch.testing.assert_close(
        skewed_kl(logits[0], logits[1], share, "reverse"), kl(s, share * s + (1 - share) * t)
    )


def head_by_sorting(p: np.ndarray[Any, Any], mass: float) -> list[int]:
    """The shortest prefix, likeliest first, that holds the mass."""
    order = np.argsort(-p)
    return sorted(order[: int(np.searchsorted(np.cumsum(p[order]), mass)) + 1].tolist())


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**31), st.integers(1, 400), st.floats(0.01, 0.999), st.floats(0.05, 6))
def test_the_teachers_head_is_the_shortest_prefix_that_holds_the_mass(
    seed: int, width: int, mass: float, scale: float
) -> None:
    """Flat distributions need more than the first topk."""
    p = (
        torch.randn(3, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        * scale
    ).softmax(-1)
    assume(float((p.sort(-1, descending=True).values.cumsum(-1) - mass).abs().min()) > 1e-9)
    for row, is_head in zip(p.numpy(), teacher_head(p, mass), strict=True):
        assert is_head.nonzero()[:, 0].tolist() == head_by_sorting(row, mass)


@settings(deadline=None, max_examples=25)
@given(logit_tables, st.sampled_from([0.3, 0.5, 0.9]))
def test_the_adaptive_kl_weighs_both_directions_by_the_gaps(logits: Tensor, mass: float) -> None:
    t, s = logits.softmax(-1)
    shares = []
    for row, gap in zip(t.numpy(), (t - s).abs().numpy(), strict=True):
        shares.append(gap[head_by_sorting(row, mass)].sum() / gap.sum())
    share = torch.tensor(shares)[:, None]
    forward, reverse = gradient_of(forward_kl, logits), gradient_of(reverse_kl, logits)
    expected = share[:, 0] * forward_kl(*logits) + (1 - share[:, 0]) * reverse_kl(*logits)
    torch.testing.assert_close(adaptive_kl(logits[0], logits[1], mass), expected)
    gradient = gradient_of(lambda teacher, student: adaptive_kl(teacher, student, mass), logits)
    torch.testing.assert_close(gradient, share * forward + (1 - share) * reverse)


@settings(deadline=None, max_examples=50)
@given(logit_tables, objectives, cuts)
def test_a_clip_bounds_and_a_high_one_changes_nothing(
    logits: Tensor, objective: Divergence, clip: Clip
) -> None:
    plain = divergence_of(objective.model_copy(update={"clip": NoClip()}), *logits)
    clipped = divergence_of(objective.model_copy(update={"clip": clip}), *logits)
    entries = 1 if clip.scope == "token" else 9
    assert (clipped <= plain + 1e-9).all() and (clipped <= entries * clip.limit * (1 + 1e-9)).all()
    if clip.scope != "entry":
        assert (clipped > -1e-9).all()
    high = objective.model_copy(update={"clip": Clip(scope=clip.scope, limit=100)})
    torch.testing.assert_close(divergence_of(high, *logits), plain)


def test_a_clipped_token_keeps_the_direction_of_its_gradient() -> None:
    logits = torch.stack([B_STUDENT.flip(-1), B_STUDENT])
    plain, values = gradient_of(forward_kl, logits), forward_kl(*logits)
    clipped = gradient_of(
        lambda teacher, student: forward_kl(teacher, student, clip=Clip(scope="token", limit=0.5)),
        logits,
    )
    torch.testing.assert_close(clipped, plain * (0.5 / values).clamp_max(1)[:, None])
    assert (values > 0.5).any()


@settings(deadline=None, max_examples=50)
@given(logit_tables, objectives, tops)
def test_a_top_as_wide_as_the_vocabulary_is_the_whole(
    logits: Tensor, objective: Divergence, top: TopLogits
) -> None:
    wide = objective.model_copy(update={"vocabulary": top.model_copy(update={"k": 9})})
    all_logits = objective.model_copy(update={"vocabulary": AllLogits()})
    assert torch.equal(divergence_of(wide, *logits), divergence_of(all_logits, *logits))


@settings(deadline=None, max_examples=25)
@given(logit_tables, st.integers(1, 8))
def test_a_tail_of_all_others_never_exceeds_the_whole(logits: Tensor, k: int) -> None:
    """Adding up entries can only lose divergence."""
    for divergence in (forward_kl, reverse_kl):
        tail = divergence(
            logits[0], logits[1], vocabulary=TopLogits(k=k, of="teacher", rest="tail")
        )
        assert (tail <= divergence(*logits) + 1e-12).all()


@pytest.mark.parametrize("divergence", [forward_kl, reverse_kl])
def test_no_difference_is_lost_between_nearly_equal_models(
    divergence: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """For z_T = z_S + ε·d both directions are ½ ε² Var_p(d) to leading order."""
    student, direction = B_STUDENT, torch.tensor([1.0, -1, 2, 0, 1], dtype=torch.float64)
    p = student.softmax(-1)
    variance = (p * direction**2).sum(-1) - (p * direction).sum(-1) ** 2
    torch.testing.assert_close(
        divergence(student + 1e-4 * direction, student), 0.5e-8 * variance, rtol=1e-3, atol=0
    )


@settings(deadline=None, max_examples=50)
@given(objectives)
def test_far_apart_models_have_finite_divergences_and_gradients(objective: Divergence) -> None:
    """Logits a hundred apart underflow as float32 probabilities, but not as logarithms."""
    teacher = torch.tensor([[200.0, 0, -50, 0, 3], [0, 0, 0, 0, 0]])
    student = torch.tensor([[-200.0, 0, 300, 0, 3], [400, 0, 0, 0, 0]], requires_grad=True)
    values = divergence_of(objective, teacher, student)
    values.sum().backward()
    assert values.isfinite().all()
    assert student.grad is not None and student.grad.isfinite().all()


def test_bfloat16_logits_are_compared_in_float32() -> None:
    student, teacher = (table.to(torch.bfloat16) for table in (B_STUDENT, B_STUDENT + 0.01))
    assert log_softmax(student, 1.0).dtype == torch.float32
    torch.testing.assert_close(
        forward_kl(teacher, student), forward_kl(teacher.float(), student.float())
    )
