"""Dual clip, ratios of whole answers, shaped ratios and clip radii per token, by definition."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainer.spec import GRPO
from trainer.text.objectives.grpo import loss
from trainer.text.objectives.kl_estimators import kl_loss
from trainer.text.objectives.sampled_tokens import SampledTokens
from trainer.text.objectives.surrogates import ClipKind, clip_kinds, clipped_surrogate, shaped_ratio

LOW, HIGH = 0.2, 0.28
LENGTHS = (3, 1, 4)
ROWS = torch.tensor([0, 0, 0, 1, 2, 2, 2, 2])
# The answers' tokens are not side by side: a selection may leave some out.
OLD = torch.tensor([-1.1, -0.5, -1.8, -3, -0.4, -1.5, -2.2, -0.9], dtype=torch.float64)
STUDENT = OLD + torch.tensor([0.1, -0.3, 0.2, 0.9, -0.5, 0.2, -0.1, -0.4], dtype=torch.float64)
PER_ANSWER = torch.tensor([1.5, -0.5, -1.0], dtype=torch.float64)[ROWS]
PER_TOKEN = torch.tensor([1.0, -2, 0.5, 1, -1, 2, 0.3, -0.7], dtype=torch.float64)

advantages = st.floats(-3, -0.01) | st.just(0.0) | st.floats(0.01, 3)
tokens = st.lists(st.tuples(st.floats(-12, 0), st.floats(-12, 0), advantages), min_size=1)


def sampled(objective: GRPO, logprob: Tensor, columns: Mapping[str, Tensor]) -> SampledTokens:
    known = {"anchor_logprobs": OLD, **columns}
    return SampledTokens(logprob, objective, known.get, ROWS)


def gradient(value: Tensor, leaf: Tensor) -> Tensor:
    return torch.autograd.grad(value.sum(), leaf)[0]


@settings(deadline=None, max_examples=50)
@given(tokens, st.floats(1.3, 5))
def test_the_dual_clip_bounds_the_loss_of_a_negative_advantage(
    token_rows: list[tuple[float, float, float]], bound: float
) -> None:
    student, anchor, advantage = (
        torch.tensor(column, dtype=torch.float64) for column in zip(*token_rows, strict=True)
    )
    student.requires_grad_()
    value = clipped_surrogate(student, anchor, advantage, LOW, HIGH, bound)
    plain = clipped_surrogate(student, anchor, advantage, LOW, HIGH)
    kinds = clip_kinds(student, anchor, advantage, LOW, HIGH, bound)
    slopes = gradient(value, student)
    ratio = (student - anchor).exp()
    for index, (_, _, one) in enumerate(token_rows):
        reaches = one < 0 and float(ratio[index].detach()) > bound
        expected = -bound * one if reaches else float(plain[index].detach())
        assert float(value[index].detach()) == pytest.approx(expected, rel=1e-9)
        assert (kinds[index] == ClipKind.DUAL) == reaches
        assert (slopes[index] == 0) == (kinds[index] != ClipKind.NONE or one == 0)


def test_the_kinds_of_clip_are_told_apart() -> None:
    student = torch.log(torch.tensor([1.5, 0.5, 4.0, 1.5, 0.5]))
    advantage = torch.tensor([1.0, -1, -1, -1, 1])
    kinds = clip_kinds(student, torch.zeros(5), advantage, LOW, HIGH, 3.0)
    assert kinds.tolist() == [
        ClipKind.UPPER,
        ClipKind.LOWER,
        ClipKind.DUAL,
        ClipKind.NONE,
        ClipKind.NONE,
    ]


def sequence_ratio(student: Tensor, row: int) -> Tensor:
    of_row = row == ROWS
    return (student[of_row] - OLD[of_row]).mean().exp()


def test_gspo_has_the_loss_and_the_gradient_of_its_definition() -> None:
    """The mean over an answer's tokens is −min(s A, clip(s) A)."""
    objective = GRPO(ratio="sequence", clip_low=LOW, clip_high=HIGH)
    student = STUDENT.clone().requires_grad_()
    done = loss(objective, sampled(objective, student, {"advantages": PER_ANSWER}))
    own = [done.loss[row == ROWS].mean() for row in range(3)]
    exact = []
    for row in range(3):
        ratio, advantage = sequence_ratio(student, row), PER_ANSWER[row == ROWS][0]
        clipped = ratio.clamp(1 - LOW, 1 + HIGH)
        exact.append(-torch.minimum(ratio * advantage, clipped * advantage))
    torch.testing.assert_close(torch.stack(own), torch.stack(exact))
    torch.testing.assert_close(
        gradient(torch.stack(own), student), gradient(torch.stack(exact), student)
    )
    assert done.clipped is not None and len(set(done.clipped[:3].tolist())) == 1


def test_gspo_token_has_the_value_of_the_answer_and_a_gradient_for_each_token() -> None:
    objective = GRPO(ratio="sequence_token", clip_low=0.9, clip_high=9)
    student = STUDENT.clone().requires_grad_()
    done = loss(objective, sampled(objective, student, {"advantages": PER_TOKEN}))
    ratios = torch.stack([sequence_ratio(STUDENT, row) for row in range(3)])[ROWS]
    torch.testing.assert_close(done.loss.detach(), -ratios * PER_TOKEN)
    torch.testing.assert_close(gradient(done.loss, student), -ratios * PER_TOKEN)


def test_gspo_token_with_equal_advantages_is_gspo() -> None:
    gradients = []
    for ratio in ("sequence", "sequence_token"):
        objective = GRPO.model_validate({"ratio": ratio})
        student = STUDENT.clone().requires_grad_()
        done = loss(objective, sampled(objective, student, {"advantages": PER_ANSWER}))
        means = torch.stack([done.loss[row == ROWS].mean() for row in range(3)])
        gradients.append(torch.cat([gradient(means, student), means.detach()]))
    torch.testing.assert_close(*gradients)


def test_each_token_may_have_its_own_clip_radii() -> None:
    objective, low = GRPO(), torch.linspace(0.05, 0.6, 8, dtype=torch.float64)
    columns = {"advantages": PER_TOKEN, "clip_low": low, "clip_high": low / 2}
    done = loss(objective, sampled(objective, STUDENT, columns))
    for index in range(8):
        one = slice(index, index + 1)
        radii = float(low[index]), float(low[index] / 2)
        alone = clipped_surrogate(STUDENT[one], OLD[one], PER_TOKEN[one], *radii)
        torch.testing.assert_close(done.loss[one], alone)


def test_a_shaped_ratio_takes_the_place_of_the_clipped_one_where_it_has_an_offset() -> None:
    """Its gradient is A π / (π + γ): with γ = 0 that of A log π."""
    offsets = torch.full((8,), torch.nan, dtype=torch.float64)
    offsets[1], offsets[3], offsets[5] = 0.0, 0.1, -1e-3
    objective, student = GRPO(), STUDENT.clone().requires_grad_()
    plain = loss(objective, sampled(objective, student, {"advantages": PER_TOKEN}))
    shaped = loss(
        objective, sampled(objective, student, {"advantages": PER_TOKEN, "ratio_offsets": offsets})
    )
    probability, has_offset = STUDENT.exp(), ~offsets.isnan()
    expected = torch.where(
        has_offset,
        -PER_TOKEN * probability / (probability + offsets.nan_to_num()),
        gradient(plain.loss, student),
    )
    torch.testing.assert_close(gradient(shaped.loss, student), expected)
    assert shaped.clipped is not None and not shaped.clipped[has_offset].any()


def test_the_denominator_of_a_shaped_ratio_has_no_pole() -> None:
    ratio = shaped_ratio(torch.log(torch.tensor([0.001, 0.0005])), torch.tensor([-0.001, -0.001]))
    np.testing.assert_allclose(ratio, [1.0, 0.5], rtol=1e-5)


def test_a_kl_term_is_added_with_its_weight() -> None:
    other = OLD - 0.3
    for estimator in ("k2", "k3"):
        for to, column in (("teacher", "teacher_logprobs"), ("reference", "reference_logprobs")):
            kl = {"kind": "kl", "to": to, "estimator": estimator, "coefficient": 0.7}
            objective = GRPO.model_validate({"kl": kl})
            columns = {"advantages": PER_TOKEN, column: other}
            done = loss(objective, sampled(objective, STUDENT, columns))
            plain = loss(GRPO(), sampled(GRPO(), STUDENT, columns))
            term = kl_loss("k2" if estimator == "k2" else "k3", STUDENT, other)
            torch.testing.assert_close(done.loss, plain.loss + 0.7 * term)


def test_estimators_of_the_kl_are_those_published() -> None:
    difference = torch.tensor([0.0, 0.4, -1.2], dtype=torch.float64)
    zeros = torch.zeros(3, dtype=torch.float64)
    torch.testing.assert_close(kl_loss("k2", difference, zeros), difference.square() / 2)
    torch.testing.assert_close(
        kl_loss("k3", difference, zeros), (-difference).exp() + difference - 1
    )
    assert kl_loss("k3", torch.tensor([-500.0]), torch.zeros(1)).isfinite().all()
