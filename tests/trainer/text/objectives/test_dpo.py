"""DPO equals its published equation, in value and gradient, and has its invariants."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import logsigmoid

from trainer.spec import DPO
from trainer.text.objectives.dpo import PairLogprobs, loss, margin

LOGPROBS = st.floats(-200, 0)


def pairs(chosen: float, rejected: float, by: float = 0.0, *reference: float) -> PairLogprobs:
    first, second = reference or (chosen, rejected)
    values = (chosen + by, rejected + by, first, second)
    return PairLogprobs(*(torch.tensor([value], dtype=torch.float64) for value in values))


def trained(objective: DPO, logprobs: PairLogprobs) -> tuple[float, float, float]:
    """The loss, and its gradients with respect to both log-probs of the student."""
    logprobs.chosen.requires_grad_()
    logprobs.rejected.requires_grad_()
    value = loss(objective, logprobs)
    chosen, rejected = torch.autograd.grad(value.sum(), (logprobs.chosen, logprobs.rejected))
    return value.item(), chosen.item(), rejected.item()


@pytest.mark.parametrize(
    ("beta", "logit", "expected", "weight"),
    [(0.1, 0.35, 0.533382, 0.413382), (0.5, 1.75, 0.160224, 0.148047)],
)
def test_the_published_vector(beta: float, logit: float, expected: float, weight: float) -> None:
    objective, logprobs = DPO(beta=beta), pairs(-12.0, -20.0, 0.0, -13.5, -18.0)
    assert margin(objective, logprobs).item() == pytest.approx(logit)
    value, chosen, rejected = trained(objective, logprobs)
    assert value == pytest.approx(expected, abs=1e-6)
    # The gradient of a pair is −β · weight, and its opposite.
    assert chosen == pytest.approx(-beta * weight, abs=1e-6)
    assert rejected == -chosen


@given(LOGPROBS, LOGPROBS, st.floats(0.01, 10), st.floats(0, 0.49))
def test_the_loss_is_ln_2_where_the_student_is_the_reference(
    chosen: float, rejected: float, beta: float, smoothing: float
) -> None:
    objective = DPO(beta=beta, label_smoothing=smoothing)
    value, gradient, _ = trained(objective, pairs(chosen, rejected))
    assert value == pytest.approx(math.log(2))
    assert gradient == pytest.approx(-beta * (0.5 - smoothing))


@given(LOGPROBS, LOGPROBS, LOGPROBS, LOGPROBS, st.floats(-50, 50))
def test_a_constant_that_is_added_to_both_ratios_changes_nothing(
    chosen: float, rejected: float, first: float, second: float, constant: float
) -> None:
    plain = trained(DPO(), pairs(chosen, rejected, 0.0, first, second))
    shifted = trained(DPO(), pairs(chosen, rejected, constant, first, second))
    assert shifted == pytest.approx(plain, rel=1e-9, abs=1e-12)


def test_it_is_the_mixture_of_both_labels_in_float64() -> None:
    generator = torch.Generator().manual_seed(0)
    columns = [-50 * torch.rand(9, generator=generator, dtype=torch.float64) for _ in range(4)]
    logprobs = PairLogprobs(*columns)

    def expected(smoothing: float) -> Tensor:
        logit = 0.3 * ((columns[0] - columns[2]) - (columns[1] - columns[3]))
        return -(1 - smoothing) * logsigmoid(logit) - smoothing * logsigmoid(-logit)

    for smoothing in (0.0, 0.1, 0.4):
        result = loss(DPO(beta=0.3, label_smoothing=smoothing), logprobs)
        torch.testing.assert_close(result, expected(smoothing))


def test_a_pair_that_is_told_apart_with_certainty_stays_finite() -> None:
    value, chosen, _ = trained(DPO(beta=100), pairs(-1.0, -900.0, 0.0, -900.0, -1.0))
    assert (value, chosen) == (0.0, 0.0)
    value, chosen, _ = trained(DPO(beta=100), pairs(-900.0, -1.0, 0.0, -1.0, -900.0))
    assert math.isfinite(value) and chosen == -100
