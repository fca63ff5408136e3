"""What a round knows of its teachers: hidden states, top tokens with a tail, or written tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.text import tiny
from trainer.spec import PlainContext, ReverseKL, TopLogits
from trainer.spec.objectives.divergence import Divergence
from trainer.spec.objectives.forward_kl import ForwardKL
from trainer.text.language.hidden_states import Row
from trainer.text.language.models import LanguageModel
from trainer.text.objectives.divergences import divergence_of
from trainer.text.problems import Problem
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import DIVERGENCE, TrainRow
from trainer.text.teachers.loading import Teachers
from trainer.text.teachers.readings import (
    Gives,
    HiddenReading,
    Reading,
    TopReading,
    Unread,
    WrittenReading,
    top_logits,
)
from trainer.text.teachers.scoring_teacher import ScoringTeacher
from trainer.text.teachers.snapshots import UnchangedWeights
from trainer.text.teachers.teacher_view import TeacherView
from trainer.text.training.teacher_states import compute_teacher_states

ANSWERS = ((3, 7, 2), (5,), (9, 1))
PROMPT = (5, 9, 4)


@pytest.fixture(scope="module")
def teacher() -> LanguageModel:
    return tiny.language_model("qwen2", "float64", seed=4)


def row(ids: tuple[int, ...], name: str) -> TrainRow:
    count = len(ids)
    answer = Answer(Problem("p", "?", "1"), 0, "student", PROMPT, ids, False, "", True, "")
    kinds, ones = np.full(count, DIVERGENCE, np.int8), np.ones(count, np.float32)
    return TrainRow(answer, 0, 1, 1.0, name, PROMPT, kinds, ones)


@dataclass(frozen=True, eq=False)
class Reduced(ScoringTeacher):
    """A teacher that tells less of the same network; it cannot read the answer (5,)."""

    name: str
    local: TeacherView
    k: int

    @property
    def gives(self) -> Gives:
        return "top_k" if self.k else "sampled"

    def read(self, rows: Any, tokens: int) -> list[Reading | Unread]:
        readings: list[Reading | Unread] = []
        for reading, (_, ids) in zip(self.local.read(rows, tokens), rows, strict=True):
            assert isinstance(reading, HiddenReading)
            log_TV = law(self.local, reading.hidden)
            written = log_TV.gather(1, torch.tensor(ids)[:, None])[:, 0]
            top = log_TV.topk(max(self.k, 1))
            if ids == (5,):
                readings.append(Unread("too long"))
            elif self.k:
                readings.append(TopReading(top.indices, top.values, written))
            else:
                readings.append(WrittenReading(written))
        return readings


def law(view: TeacherView, hidden_TH: Tensor) -> Tensor:
    model = view.language_model
    return view.head.logits(hidden_TH, model.vocabulary).log_softmax(-1)


def local(teacher: LanguageModel) -> TeacherView:
    return TeacherView("teacher", teacher, PlainContext(), UnchangedWeights(), 16)


def test_the_log_probs_of_written_tokens_are_those_of_a_plain_forward_pass(
    teacher: LanguageModel,
) -> None:
    rows = [row(ids, "teacher") for ids in ANSWERS]
    states = compute_teacher_states(Teachers(teacher.vocabulary, local(teacher)), rows, 8)
    for temperature in (1.0, 0.7):
        for index, ids in enumerate(ANSWERS):
            logits = teacher.model(torch.tensor([PROMPT + ids])).logits[0, 2:-1]
            log_TV = (logits[:, : teacher.vocabulary] / temperature).log_softmax(-1)
            expected = log_TV.gather(1, torch.tensor(ids)[:, None])[:, 0]
            torch.testing.assert_close(states.logprobs(index, temperature), expected.float())


@pytest.mark.parametrize("k", [0, 4])
def test_a_teacher_that_tells_less_gives_the_same_log_probs(teacher: LanguageModel, k: int) -> None:
    view = Reduced("teacher", local(teacher), k)
    rows = [row(ids, "teacher") for ids in ANSWERS]
    states = compute_teacher_states(Teachers(teacher.vocabulary, view), rows, 8)
    exact = compute_teacher_states(Teachers(teacher.vocabulary, local(teacher)), rows, 8)
    for index in (0, 2):
        torch.testing.assert_close(states.logprobs(index), exact.logprobs(index))
    assert states.logprobs(1).tolist() == [0.0]
    assert states.unread == {1: "too long"} and set(states.readings) == {0, 2}
    with pytest.raises(ValueError, match="temperature 1"):
        states.logprobs(0, 0.5)


@pytest.mark.parametrize("objective", [ReverseKL, ForwardKL])
@pytest.mark.parametrize("rest", ["tail", "renormalise"])
@pytest.mark.parametrize("k", [2, 4])
def test_divergences_over_the_top_tokens_are_those_of_the_whole_distribution(
    teacher: LanguageModel, objective: Callable[..., Divergence], rest: Any, k: int
) -> None:
    rows = [row(ids, "teacher") for ids in ANSWERS]
    reduced = Teachers(teacher.vocabulary, Reduced("teacher", local(teacher), 4))
    settings = objective(vocabulary=TopLogits(k=k, rest=rest))
    selected = torch.tensor([True, False, True, False, True])
    student = torch.randn(3, teacher.vocabulary, dtype=torch.float64)
    divergences = [
        divergence_of(
            settings,
            compute_teacher_states(teachers, rows, 8).logits([0, 2], selected)(slice(0, 3)),
            student,
        )
        for teachers in (reduced, Teachers(teacher.vocabulary, local(teacher)))
    ]
    torch.testing.assert_close(*divergences)


@given(st.integers(1, 9), st.integers(0, 2**31 - 1), st.floats(0.1, 20))
def test_what_is_not_told_is_divided_among_all_other_tokens(
    k: int, seed: int, sharpness: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 12, dtype=torch.float64, generator=generator)
    log_TV = (logits * sharpness).log_softmax(-1)
    ids_T = torch.randint(12, (6,), generator=generator)
    written = log_TV.gather(1, ids_T[:, None])[:, 0]
    top = log_TV.topk(k)
    filled = top_logits(top.indices, top.values, ids_T, written, 12)
    torch.testing.assert_close(filled.gather(1, top.indices), top.values)
    torch.testing.assert_close(filled.gather(1, ids_T[:, None])[:, 0], written)
    # float32 cannot tell a smaller tail from none.
    torch.testing.assert_close(filled.exp().sum(-1), torch.ones(6).double(), atol=2e-7, rtol=0)


def test_places_without_an_id_are_part_of_the_tail() -> None:
    log_V = torch.tensor([0.5, 0.2, 0.2, 0.1]).log()
    ids, written = torch.tensor([[0, 1, 4]]), torch.tensor([0])
    filled = top_logits(ids, log_V[None, :3], written, log_V[:1], 4)
    torch.testing.assert_close(filled[0].exp(), torch.tensor([0.5, 0.2, 0.15, 0.15]))


@given(st.integers(1, 9), st.integers(0, 2**31 - 1), st.floats(0.1, 60))
def test_a_divergence_with_a_tail_is_never_negative(k: int, seed: int, sharpness: float) -> None:
    """Without the tail the sum over the top tokens may be below 0, and a clamp hides it."""
    generator = torch.Generator().manual_seed(seed)
    teacher, student = torch.randn(2, 6, 12, generator=generator)
    log_TV = (teacher * sharpness).log_softmax(-1)
    ids_T = torch.randint(12, (6,), generator=generator)
    top = log_TV.topk(k)
    written = log_TV.gather(1, ids_T[:, None])[:, 0]
    filled = top_logits(top.indices, top.values, ids_T, written, 12)
    for objective in (ReverseKL, ForwardKL):
        divergence_T = divergence_of(
            objective(vocabulary=TopLogits(k=k)), filled, student * sharpness
        )
        assert (divergence_T > -1e-5).all() and torch.isfinite(divergence_T).all()


def test_mass_that_a_student_moves_out_of_the_top_tokens_raises_the_divergence() -> None:
    log_T = torch.tensor([[0.6, 0.3, 0.06, 0.04]]).log()
    filled = top_logits(torch.tensor([[0, 1]]), log_T[:, :2], torch.tensor([0]), log_T[:, 0], 4)
    objective = ReverseKL(vocabulary=TopLogits(k=2))
    divergences = [
        float(divergence_of(objective, filled, torch.tensor([[2 * s, s, o, o]]).log()))
        for s, o in ((0.3, 0.05), (0.2, 0.2), (0.1, 0.35))
    ]
    assert divergences == sorted(divergences) and divergences[0] < 0.01 < 1 < divergences[2]


def test_a_tail_that_rounding_makes_negative_is_not_infinite() -> None:
    filled = top_logits(
        torch.tensor([[0]]), torch.tensor([[1e-7]]), torch.tensor([0]), torch.tensor([1e-7]), 4
    )
    assert torch.isfinite(filled).all()


def test_rows_are_read_with_the_teachers_own_prompt(teacher: LanguageModel) -> None:
    seen: list[Row] = []

    class Recorded(Reduced):
        def read(self, rows: Any, tokens: int) -> list[Reading | Unread]:
            seen.extend(rows)
            return super().read(rows, tokens)

    compute_teacher_states(
        Teachers(teacher.vocabulary, Recorded("teacher", local(teacher), 0)),
        [row(ids, "teacher") for ids in ANSWERS],
        8,
        [2, 0],
    )
    assert seen == [(PROMPT, (9, 1)), (PROMPT, (3, 7, 2))]
