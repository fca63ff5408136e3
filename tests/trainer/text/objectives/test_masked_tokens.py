"""Tokens with a logit of −∞: nothing where both models have it, else refused if it is infinite."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.text.objectives.strategies import logit_tables, objectives
from trainer.spec import (
    JSD,
    AdaptiveKL,
    Clip,
    Divergence,
    ForwardKL,
    ReverseKL,
    Sampling,
    SkewedKL,
    TopLogits,
)
from trainer.text.language.heads import Head
from trainer.text.lm_head.linear_divergence import linear_divergence, score_tokens
from trainer.text.lm_head.linear_logprob import linear_logprob
from trainer.text.objectives.divergences import InfiniteDivergence, divergence_of
from trainer.text.rollouts.engines.token_choice import choose

masks = st.lists(st.integers(0, 8), min_size=1, max_size=3, unique=True)
dtypes = st.sampled_from([torch.float32, torch.float64])


def masked(logits_TV: Tensor, ids: list[int]) -> Tensor:
    changed = logits_TV.clone()
    changed[:, ids] = -torch.inf
    return changed


def kept(ids: list[int]) -> list[int]:
    return [id for id in range(9) if id not in ids]


def through_the_head(
    objective: Divergence, teacher_TV: Tensor, student_TV: Tensor, coefficients_T: Tensor
) -> tuple[Tensor, Tensor]:
    """Divergences [T] and the gradient [T, V] of their sum, with an identity as head."""
    count = student_TV.shape[-1]
    # Finite hidden states; the mask is the bias of the head, where real models have it.
    hidden_TH = student_TV.nan_to_num(neginf=0.0).requires_grad_()
    bias_V = torch.where(student_TV[0].isneginf(), -torch.inf, 0.0).to(student_TV.dtype)
    head = Head(torch.eye(count, dtype=student_TV.dtype), bias_V)
    loss, statistics = linear_divergence(
        hidden_TH,
        head,
        lambda tokens: teacher_TV[tokens],
        coefficients_T,
        torch.zeros(len(teacher_TV), dtype=torch.long),
        objective,
        vocabulary=count,
        chunk=2,
    )
    (gradient_TV,) = torch.autograd.grad(loss, hidden_TH)
    assert torch.isfinite(statistics.entropy).all()
    return statistics.divergence, gradient_TV


@settings(deadline=None, max_examples=120)
@given(logit_tables, objectives, masks, dtypes)
def test_a_token_that_both_models_mask_adds_nothing(
    logits: Tensor, objective: Divergence, ids: list[int], dtype: torch.dtype
) -> None:
    logits = logits.to(dtype)
    if isinstance(objective.vocabulary, TopLogits):
        # Of k likeliest tokens of fewer than k, some would be masked ones.
        smaller = objective.vocabulary.model_copy(update={"k": min(objective.vocabulary.k, 5)})
        objective = objective.model_copy(update={"vocabulary": smaller})
    teacher_TV, student_TV = (masked(table, ids) for table in logits)
    rest = kept(ids)
    exact_T = divergence_of(objective, logits[0][:, rest], logits[1][:, rest])
    torch.testing.assert_close(divergence_of(objective, teacher_TV, student_TV), exact_T)
    ones_T = torch.ones(len(student_TV), dtype=dtype)
    divergence_T, gradient_TV = through_the_head(objective, teacher_TV, student_TV, ones_T)
    torch.testing.assert_close(divergence_T, exact_T)
    _, exact_gradient_TV = through_the_head(
        objective, logits[0][:, rest], logits[1][:, rest], ones_T
    )
    assert (gradient_TV[:, ids] == 0).all()
    torch.testing.assert_close(gradient_TV[:, rest], exact_gradient_TV)


INFINITE_FOR: list[tuple[Divergence, str]] = [
    (ForwardKL(), "student"),
    (ForwardKL(temperature=2.0), "student"),
    (ForwardKL(vocabulary=TopLogits(k=9)), "student"),
    (ForwardKL(vocabulary=TopLogits(k=3, rest="tail")), "student"),
    (ForwardKL(vocabulary=TopLogits(k=1, rest="renormalise")), "student"),
    (JSD(beta=0), "student"),
    (SkewedKL(alpha=0, direction="forward"), "student"),
    (AdaptiveKL(), "student"),
    (ReverseKL(), "teacher"),
    (ReverseKL(vocabulary=TopLogits(k=3, of="student")), "teacher"),
    (JSD(beta=1), "teacher"),
    (SkewedKL(alpha=0, direction="reverse"), "teacher"),
    (AdaptiveKL(), "teacher"),
]


def likely(id: int) -> Tensor:
    """Logits [6, 9] with token `id` the likeliest everywhere."""
    logits_TV = torch.randn(6, 9, generator=torch.Generator().manual_seed(4))
    logits_TV[:, id] = 6.0
    return logits_TV


@pytest.mark.parametrize(("objective", "without"), INFINITE_FOR, ids=str)
def test_an_infinite_divergence_is_refused_with_the_token(
    objective: Divergence, without: str
) -> None:
    teacher_TV, student_TV = likely(7), likely(7)
    (teacher_TV if without == "teacher" else student_TV)[:, 7] = -torch.inf
    other = "student" if without == "teacher" else "teacher"
    sentence = re.compile(
        rf"{objective.kind} is infinite: the {other} gives token 7 the probability 0\.\d+, "
        rf"the {without} none"
    )
    with pytest.raises(InfiniteDivergence, match=sentence):
        divergence_of(objective, teacher_TV, student_TV)
    with pytest.raises(InfiniteDivergence, match=sentence):
        through_the_head(objective, teacher_TV, student_TV, torch.ones(6))


@pytest.mark.parametrize("probability", [1e-30, 1e-20, 1e-8, 1e-3])
def test_any_probability_above_0_is_refused(probability: float) -> None:
    teacher_TV = torch.zeros(1, 9)
    teacher_TV[0, 2] = float(torch.tensor(probability * 8).log())
    with pytest.raises(InfiniteDivergence, match="token 2"):
        divergence_of(ForwardKL(), teacher_TV, masked(torch.zeros(1, 9), [2]))


FINITE: list[tuple[Divergence, str]] = [
    (ForwardKL(), "teacher"),
    (ReverseKL(), "student"),
    (JSD(beta=0.3), "student"),
    (JSD(beta=0.3), "teacher"),
    (SkewedKL(alpha=0.2, direction="forward"), "student"),
    (SkewedKL(alpha=0.2, direction="reverse"), "teacher"),
    (ForwardKL(clip=Clip(limit=0.5)), "student"),
]


@pytest.mark.parametrize(("objective", "without"), FINITE, ids=str)
def test_a_divergence_that_is_finite_is_that_of_a_very_unlikely_token(
    objective: Divergence, without: str
) -> None:
    tables = {"teacher": likely(7).double(), "student": likely(6).double()}
    almost = {name: table.clone() for name, table in tables.items()}
    tables[without][:, 7] = -torch.inf
    almost[without][:, 7] = -700.0
    exact_T = divergence_of(objective, almost["teacher"], almost["student"])
    torch.testing.assert_close(
        divergence_of(objective, tables["teacher"], tables["student"]), exact_T
    )
    ones_T = torch.ones(6).double()
    actual, expected = (
        through_the_head(objective, each["teacher"], each["student"], ones_T)
        for each in (tables, almost)
    )
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_scores_log_probs_and_entropies_of_masked_tokens_are_numbers() -> None:
    logits_TV = masked(likely(7), [2, 5])
    ids_T = torch.full((6,), 7)
    head = Head(torch.eye(9), torch.where(logits_TV[0].isneginf(), -torch.inf, 0.0))
    hidden_TH = logits_TV.nan_to_num(neginf=0.0).requires_grad_()
    rest = kept([2, 5])
    entropy_T = torch.distributions.Categorical(logits=logits_TV[:, rest]).entropy()

    scores = score_tokens(
        hidden_TH.detach(), head, lambda tokens: logits_TV[tokens], ids_T, vocabulary=9
    )
    torch.testing.assert_close(scores.entropy, entropy_T)
    assert (scores.forward_kl == 0).all() and (scores.reverse_kl == 0).all()

    logprobs_T, entropies_T = linear_logprob(hidden_TH, head, ids_T, vocabulary=9)
    torch.testing.assert_close(entropies_T, entropy_T)
    (gradient_TV,) = torch.autograd.grad((logprobs_T + entropies_T).sum(), hidden_TH)
    assert torch.isfinite(gradient_TV).all() and (gradient_TV[:, [2, 5]] == 0).all()
    impossible_T, _ = linear_logprob(hidden_TH.detach(), head, torch.full((6,), 5), vocabulary=9)
    assert impossible_T.isneginf().all()

    choice = choose(logits_TV, torch.linspace(0, 0.999, 6).double(), Sampling())
    torch.testing.assert_close(choice.entropies, entropy_T)
    assert not {2, 5} & set(choice.ids.tolist())
