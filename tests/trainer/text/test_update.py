"""One update is compared with its equation, in float64, for all sizes of micro-batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from torch import Tensor

from tests.trainer.text import tiny
from tests.trainer.text.tiny_run import spec
from trainer.engine.loop import Runtime
from trainer.events import EventLog
from trainer.spec import PlainContext, RunSpec
from trainer.spec.operation import Checkpoints
from trainer.text.language.models import LanguageModel
from trainer.text.problems import Problem
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import DIVERGENCE, TrainRow
from trainer.text.teachers.loading import Teachers
from trainer.text.teachers.snapshots import UnchangedWeights
from trainer.text.teachers.teacher_view import TeacherView
from trainer.text.training.micro_batch_loss import MicroBatchLoss
from trainer.text.training.minibatches import minibatch
from trainer.text.training.teacher_states import TeacherStates, compute_teacher_states
from trainer.text.training.update import (
    GROUP,
    TrainRound,
    coefficients,
    compute_gradients,
    loss_normaliser,
)

WEIGHTS = [0.5, 0.0, 1.0, 2.5]
LENGTHS = [3, 9, 5, 1, 7, 7, 2, 4]


@dataclass(frozen=True)
class Pair:
    student: LanguageModel
    teacher: LanguageModel

    @property
    def teachers(self) -> Teachers:
        return Teachers(
            self.student.vocabulary,
            TeacherView("teacher", self.teacher, PlainContext(), UnchangedWeights(), 16),
        )


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair(
        tiny.language_model("qwen2", "float64", seed=3),
        tiny.language_model("qwen2", "float64", seed=4),
    )


def answers() -> list[Answer]:
    """Two answers to each of four problems, of very different lengths."""
    generator = torch.Generator().manual_seed(0)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, tiny.VOCABULARY, (count,), generator=generator).tolist())

    def answer(index: int, length: int) -> Answer:
        return Answer(
            Problem(str(index // 2), "?", "1"),
            index % 2,
            "student",
            ids(4 + index),
            ids(length),
            False,
            "",
            True,
            "",
        )

    return [answer(index, length) for index, length in enumerate(LENGTHS)]


def row(index: int, answer: Answer, kind: int = DIVERGENCE, **columns: Any) -> TrainRow:
    length = len(answer.ids)
    return TrainRow(
        answer,
        index // 2,
        2,
        WEIGHTS[index // 2],
        "teacher",
        answer.prompt,
        np.full(length, kind, np.int8),
        np.ones(length, np.float32),
        **columns,
    )


def round_of(pair: Pair, settings: RunSpec, rows: Sequence[TrainRow] | None = None) -> TrainRound:
    rows = rows or [row(index, answer) for index, answer in enumerate(answers())]
    return TrainRound(
        settings.stages[0],
        WEIGHTS,
        rows,
        compute_teacher_states(pair.teachers, rows, 64),
        range(len(rows)),
    )


def definition(objective: str, reduction: str, normalisation: str, micro: int) -> RunSpec:
    stage: dict[str, Any] = {
        "name": "only",
        "objective": {"kind": objective},
        "reduction": reduction,
    }
    return spec(
        stages=[stage], pool={"normalisation": normalisation}, compute={"micro_batch_tokens": micro}
    )


def gradient(
    pair: Pair, settings: RunSpec, folder: Path, rows: Sequence[TrainRow] | None = None
) -> tuple[dict[str, Tensor], float, int]:
    """Gradient as the loop's group holds it, loss, and the number of micro-batches."""
    rt = Runtime(
        folder,
        EventLog(folder / "events", 1),
        torch.device("cpu"),
        Checkpoints(),
        0,
        settings=settings.compute,
    )
    parameters = dict(pair.student.model.named_parameters())
    pair.student.model.zero_grad()
    group = rt.network(
        GROUP, pair.student.model, bfloat16=settings.networks.student.dtype == "bfloat16"
    )
    compute_gradients(MicroBatchLoss(pair.student), settings, round_of(pair, settings, rows), rt)
    return (
        {name: p.grad.clone() for name, p in parameters.items() if p.grad is not None},
        group._loss / group.normaliser,
        rt.micro,
    )


def token_divergences(
    student: LanguageModel, teacher: LanguageModel, answer: Answer, kind: str
) -> Tensor:
    """The divergence at each token of one answer alone: no padding, no chunks."""
    ids = torch.tensor([answer.prompt + answer.ids])
    indices = slice(len(answer.prompt) - 1, -1)
    log_s = student.model(ids).logits[0, indices, : student.vocabulary].log_softmax(-1)
    log_t = teacher.model(ids).logits[0, indices, : teacher.vocabulary].log_softmax(-1)
    return (
        (log_t.exp() * (log_t - log_s)).sum(-1)
        if kind == "forward_kl"
        else (log_s.exp() * (log_s - log_t)).sum(-1)
    )


def reference(pair: Pair, settings: RunSpec) -> tuple[dict[str, Tensor], float]:
    """The equation of `distill`, written out."""
    stage, rows = settings.stages[0], answers()
    divergences_by_row = [
        token_divergences(pair.student, pair.teacher, answer, stage.objective.kind)
        for answer in rows
    ]
    means = stage.reduction == "sequence_mean"
    terms = [
        WEIGHTS[index // 2] * (divergences.mean() / 2 if means else divergences.sum())
        for index, divergences in enumerate(divergences_by_row)
    ]
    counts: Sequence[float] = (
        [1.0] * 4 if means else [LENGTHS[2 * i] + LENGTHS[2 * i + 1] for i in range(4)]
    )
    by_weight = settings.pool.normalisation == "batch_self_norm"
    z = sum(
        count * (weight if by_weight else 1.0)
        for count, weight in zip(counts, WEIGHTS, strict=True)
    )
    pair.student.model.zero_grad()
    loss = torch.stack(terms).sum() / z
    loss.backward()
    return {
        name: p.grad.clone()
        for name, p in pair.student.model.named_parameters()
        if p.grad is not None
    }, float(loss.detach())


@pytest.mark.parametrize("objective", ["forward_kl", "reverse_kl"])
@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean"])
@pytest.mark.parametrize("normalisation", ["pool", "batch_self_norm"])
def test_the_gradient_is_that_of_the_equation_whatever_the_micro_batches(
    pair: Pair, tmp_path: Path, objective: str, reduction: str, normalisation: str
) -> None:
    counts = set()
    for micro in (16, 40, 100_000):
        settings = definition(objective, reduction, normalisation, micro)
        result, loss, count = gradient(pair, settings, tmp_path / str(micro))
        expected, expected_loss = reference(pair, settings)
        counts.add(count)
        assert loss == pytest.approx(expected_loss, rel=1e-10)
        assert result.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(result[name], value, rtol=1e-8, atol=1e-12)
    assert len(counts) == 3


def test_a_row_that_drops_out_leaves_the_others_as_they_were(pair: Pair, tmp_path: Path) -> None:
    """Z is that of the problems admitted to the update.

    So weights [.25, 0, .1, .2] never become [.25, .1, .2] / .55.
    """
    settings = definition("forward_kl", "sequence_mean", "pool", 100_000)
    _, loss, _ = gradient(pair, settings, tmp_path)
    means = [
        token_divergences(pair.student, pair.teacher, answer, "forward_kl").mean().item()
        for answer in answers()
    ]
    by_problem = [(means[2 * i] + means[2 * i + 1]) / 2 for i in range(4)]
    assert loss == pytest.approx(
        math.fsum(w * mean for w, mean in zip(WEIGHTS, by_problem, strict=True)) / 4
    )


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean", "sequence_sum", "fixed"])
@pytest.mark.parametrize("normalisation", ["pool", "batch_self_norm"])
def test_a_minibatch_is_the_update_of_its_problems_alone(
    pair: Pair, tmp_path: Path, reduction: str, normalisation: str
) -> None:
    """Its Z too is that of its own problems and rows."""
    settings = definition("forward_kl", reduction, normalisation, 40)
    stage = settings.stages[0].model_copy(update={"minibatches": 2})
    round = replace(round_of(pair, settings), stage=stage)
    part = minibatch(round, 1, seed=0, step=0)
    assert part.problems is not None and len(part.problems) == 2
    rows = [row for row in round.rows if row.owner in part.problems]
    alone = [replace(row, owner=sorted(part.problems).index(row.owner), siblings=2) for row in rows]
    own_weights = [WEIGHTS[problem] for problem in sorted(part.problems)]
    teacher_states = compute_teacher_states(pair.teachers, alone, 64)
    expected = TrainRound(settings.stages[0], own_weights, alone, teacher_states, range(len(alone)))
    gradients = update_of(pair, settings, tmp_path / "alone", expected)
    for name, value in update_of(pair, settings, tmp_path / "part", part).items():
        torch.testing.assert_close(value, gradients[name], rtol=1e-8, atol=1e-12)
    assert loss_normaliser(settings, part) == loss_normaliser(settings, expected)


def update_of(pair: Pair, settings: RunSpec, folder: Path, round: TrainRound) -> dict[str, Tensor]:
    rt = Runtime(
        folder,
        EventLog(folder / "events", 1),
        torch.device("cpu"),
        Checkpoints(),
        0,
        settings=settings.compute,
    )
    pair.student.model.zero_grad()
    rt.network(GROUP, pair.student.model)
    compute_gradients(MicroBatchLoss(pair.student), settings, round, rt)
    return {
        name: parameter.grad.clone()
        for name, parameter in pair.student.model.named_parameters()
        if parameter.grad is not None
    }


@settings_of_hypothesis(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 6), st.integers(0, 5))
def test_each_epoch_divides_all_problems_among_its_minibatches(
    problems: int, epochs: int, minibatches: int, step: int
) -> None:
    stage = spec().stages[0].model_copy(update={"inner_epochs": epochs, "minibatches": minibatches})
    rows = [replace(row(0, answers()[0]), owner=problem) for problem in range(problems)]
    round = TrainRound(stage, [1.0] * problems, rows, TeacherStates(1, rows), range(problems))
    parts = [minibatch(round, number, 3, step) for number in range(stage.updates_per_step)]
    for epoch in range(epochs):
        of_epoch = parts[epoch * minibatches : (epoch + 1) * minibatches]
        trained = [index for part in of_epoch for index in part.own_rows]
        assert sorted(trained) == list(range(problems))
        assert max(len(p.own_rows) for p in of_epoch) - min(len(p.own_rows) for p in of_epoch) <= 1


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean", "sequence_sum", "fixed"])
def test_masked_rows_count_in_means_unless_these_are_over_kept_answers(reduction: str) -> None:
    """Of the problems, one has both answers masked, one has one, two have none."""
    settings = definition("forward_kl", reduction, "pool", 40)
    longest = settings.stages[0].rollouts.generate.sampling.max_new_tokens
    masked = {0, 1, 4}
    rows = [row(index, answer) for index, answer in enumerate(answers())]
    for index in masked:
        rows[index] = replace(rows[index], coefficients=np.zeros(LENGTHS[index], np.float32))
    all_rows = TrainRound(settings.stages[0], WEIGHTS, rows, TeacherStates(1, rows), range(8))
    stage = settings.stages[0].model_copy(update={"renormalise_by_kept": True})
    kept_rows = replace(all_rows, stage=stage)
    kept_tokens = sum(LENGTHS[index] for index in range(8) if index not in masked)
    with_masked, of_kept = {
        "sequence_mean": (4, 3),
        "sequence_sum": (4, 3),
        # A mean over kept tokens has nothing of a masked row either way.
        "token_mean": (kept_tokens, kept_tokens),
        "fixed": (8 * longest, 5 * longest),
    }[reduction]
    assert loss_normaliser(settings, all_rows) == with_masked
    assert loss_normaliser(settings, kept_rows) == of_kept
    siblings = {"sequence_mean": LENGTHS[5], "sequence_sum": 1.0}.get(reduction)
    for round, count in ((all_rows, 2), (kept_rows, 1)):
        shares = coefficients(round)
        assert all(not shares[index].any() for index in masked)
        if siblings:
            assert float(shares[5][0]) == pytest.approx(WEIGHTS[2] / siblings / count)


def test_bfloat16_computes_in_it_but_holds_weights_and_gradients_in_float32(tmp_path: Path) -> None:
    student, teacher = (
        tiny.language_model("qwen2", "float32", seed=3),
        tiny.language_model("qwen2", "float32", seed=4),
    )
    single = Pair(student, teacher)
    full = definition("reverse_kl", "sequence_mean", "pool", 100_000)
    student_format = {"student": {"model": "builtin:student", "dtype": "bfloat16"}}
    half = full.model_copy(update={"networks": spec(networks=student_format).networks})
    exact, loss, _ = gradient(single, full, tmp_path / "full")
    rounded, half_loss, _ = gradient(single, half, tmp_path / "half")
    assert half_loss == pytest.approx(loss, rel=0.03)
    assert half_loss != loss
    for name, value in exact.items():
        assert rounded[name].dtype == torch.float32
        assert float((rounded[name] - value).norm() / value.norm()) < 0.1


@pytest.mark.parametrize("renormalise", [False, True])
@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean"])
def test_an_answer_of_weight_zero_counts_in_z_unless_means_are_over_kept_answers(
    pair: Pair, tmp_path: Path, reduction: str, renormalise: bool
) -> None:
    settings = definition("forward_kl", reduction, "pool", 64)
    stage = settings.stages[0].model_copy(update={"renormalise_by_kept": renormalise})
    settings = settings.model_copy(update={"stages": (stage,)})
    rows = [row(index, answer) for index, answer in enumerate(answers())]
    weights = [1.0, 0.0, 0.5, 1.0] + [1.0] * (len(rows) - 4)
    weighted = [replace(row, row_weight=weight) for row, weight in zip(rows, weights, strict=True)]
    masked = [
        replace(row, coefficients=row.coefficients * np.float32(weight))
        for row, weight in zip(rows, weights, strict=True)
    ]
    actual, expected = (round_of(pair, settings, each) for each in (weighted, masked))
    if reduction == "token_mean" and not renormalise:
        # Masked tokens are no tokens; tokens of an answer of weight 0 are.
        difference = loss_normaliser(settings, actual) - loss_normaliser(settings, expected)
        assert difference == len(rows[1].answer.ids)
        return
    gradients = [
        gradient(pair, settings, tmp_path / name, each)[0]
        for name, each in (("weighted", weighted), ("masked", masked))
    ]
    for name, value in gradients[0].items():
        torch.testing.assert_close(value, gradients[1][name])
