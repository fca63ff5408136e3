"""One update over rows of every kind is compared with its equation, in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.trainer.text import tiny
from tests.trainer.text.tiny_run import spec
from trainer.engine.distributed.world import World
from trainer.engine.loop import Runtime
from trainer.events import EventLog
from trainer.spec import GRPO, Need, PlainContext, RunSpec, Stage
from trainer.spec.operation import Checkpoints
from trainer.text.language.models import LanguageModel
from trainer.text.lm_head.linear_divergence import TokenStatistics
from trainer.text.objectives.sampled_tokens import SampledTokens, TokenLoss
from trainer.text.objectives.surrogates import clipped_surrogate
from trainer.text.problems import Problem
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import (
    CROSS_ENTROPY,
    DIVERGENCE,
    NONE,
    RATIO,
    TrainRow,
    with_column,
)
from trainer.text.teachers.loading import Teachers
from trainer.text.teachers.snapshots import UnchangedWeights
from trainer.text.teachers.teacher_view import TeacherView
from trainer.text.training.micro_batch_loss import MicroBatchLoss
from trainer.text.training.score_phase import score_and_select, teacher_logprobs
from trainer.text.training.teacher_states import compute_teacher_states
from trainer.text.training.update import GROUP, TrainRound, compute_gradients

WEIGHTS = [0.5, 2.0, 1.0]
LENGTHS = [3, 9, 5, 1, 7, 6]
Gradient = dict[str, Tensor]
Terms = Callable[[TrainRow], Tensor]


@pytest.fixture(scope="module")
def student() -> LanguageModel:
    return tiny.language_model("qwen2", "float64", seed=3)


@pytest.fixture(scope="module")
def teachers(student: LanguageModel) -> Teachers:
    first, second = (
        TeacherView(
            name,
            tiny.language_model(shape, "float64", seed=seed),
            PlainContext(),
            UnchangedWeights(),
            16,
        )
        for name, shape, seed in (("teacher", "qwen2", 4), ("specialist", "llama", 5))
    )
    return Teachers(student.vocabulary, first, None, {"other": second})


def random_rows(
    seed: int, kinds: Sequence[int], teacher: Callable[[int], str] = lambda _: "teacher"
) -> list[TrainRow]:
    """Return two answers to each of three problems.

    Kinds, coefficients (a third of them 0), advantages and anchors are drawn token by token.
    """
    rng = np.random.Generator(np.random.PCG64(seed))

    def ids(count: int) -> tuple[int, ...]:
        return tuple(int(id) for id in rng.integers(3, tiny.VOCABULARY, count))

    def row(index: int, length: int) -> TrainRow:
        answer = Answer(
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
        coefficients = rng.choice([0.0, 0.25, 1.0], length).astype(np.float32)
        return TrainRow(
            answer,
            index // 2,
            2,
            WEIGHTS[index // 2],
            teacher(index),
            ids(3 + index),
            rng.choice(kinds, length).astype(np.int8),
            coefficients,
            advantages=rng.normal(size=length).astype(np.float32),
            anchor_logprobs=rng.normal(-3, 1, length).astype(np.float32),
        )

    return [row(index, length) for index, length in enumerate(LENGTHS)]


def settings(objective: dict[str, Any], micro: int = 24, **stage: Any) -> RunSpec:
    definition = {
        "name": "only",
        "objective": objective,
        "rollouts": {"generate": {"per_problem": 2}},
        **stage,
    }
    return spec(stages=[definition], compute={"micro_batch_tokens": micro})


def differentiated(
    student: LanguageModel,
    teachers: Teachers,
    definition: RunSpec,
    rows: list[TrainRow],
    folder: Path,
) -> tuple[Gradient, float, list[TokenStatistics]]:
    rt = Runtime(
        folder,
        EventLog(folder / "events", 1),
        torch.device("cpu"),
        Checkpoints(),
        0,
        settings=definition.compute,
    )
    parameters = dict(student.model.named_parameters())
    student.model.zero_grad()
    group = rt.group(GROUP, parameters)
    round = TrainRound(
        definition.stages[0],
        WEIGHTS,
        rows,
        compute_teacher_states(teachers, rows, 64, range(len(rows))),
        range(len(rows)),
    )
    statistics = compute_gradients(MicroBatchLoss(student), definition, round, rt)
    return (
        {name: p.grad.clone() for name, p in parameters.items() if p.grad is not None},
        group._loss / group.normaliser,
        statistics,
    )


def expected(
    student: LanguageModel, rows: Sequence[TrainRow], terms: Terms, reduction: str
) -> tuple[Gradient, float]:
    """Σ_i w̃_i Σ_j share_ij Σ_t c_t ℓ_t / Z, written out; `terms` gives ℓ [T] of a row."""
    token_counts = [int((row.coefficients != 0).sum()) for row in rows]
    shares = [
        1 / (2 * max(1, count)) if reduction == "sequence_mean" else 1.0 for count in token_counts
    ]
    z = len(WEIGHTS) if reduction == "sequence_mean" else sum(token_counts)
    row_losses = [
        row.weight * share * (torch.from_numpy(row.coefficients).double() * terms(row)).sum()
        for row, share in zip(rows, shares, strict=True)
    ]
    student.model.zero_grad()
    loss = torch.stack(row_losses).sum() / z
    loss.backward()
    return {
        name: p.grad.clone() for name, p in student.model.named_parameters() if p.grad is not None
    }, float(loss.detach())


def law(model: LanguageModel, prompt: tuple[int, ...], ids: tuple[int, ...]) -> Tensor:
    """Log-probs [T, V] of one answer alone: no padding, no chunks."""
    logits = model.model(torch.tensor([prompt + ids])).logits[
        0, len(prompt) - 1 : -1, : model.vocabulary
    ]
    return torch.log_softmax(logits, -1)


def divergence_or_likelihood(student: LanguageModel, teachers: Teachers) -> Terms:
    """Reverse KL to the row's own teacher, cross-entropy, or nothing, by kind."""
    views = {view.name: view.language_model for view in teachers.loaded}

    def terms(row: TrainRow) -> Tensor:
        own_TV = law(student, row.answer.prompt, row.answer.ids)
        with torch.no_grad():
            other_TV = law(views[row.teacher], row.teacher_prompt, row.answer.ids)
        kinds_T = torch.from_numpy(row.kinds)
        likelihood_T = own_TV.gather(-1, torch.tensor(row.answer.ids)[:, None])[:, 0]
        divergence_T = (own_TV.exp() * (own_TV - other_TV)).sum(-1)
        return torch.where(
            kinds_T == DIVERGENCE,
            divergence_T,
            torch.where(kinds_T == CROSS_ENTROPY, -likelihood_T, 0.0),
        )

    return terms


def ratio_or_likelihood(student: LanguageModel, objective: GRPO) -> Terms:
    def terms(row: TrainRow) -> Tensor:
        logprob_T = law(student, row.answer.prompt, row.answer.ids).gather(
            -1, torch.tensor(row.answer.ids)[:, None]
        )[:, 0]
        assert row.anchor_logprobs is not None and row.advantages is not None
        ratio_T = (logprob_T - torch.from_numpy(row.anchor_logprobs).double()).exp()
        gain_T = torch.from_numpy(row.advantages).double()
        surrogate_T = torch.minimum(
            ratio_T * gain_T,
            ratio_T.clamp(1 - objective.clip_low, 1 + objective.clip_high) * gain_T,
        )
        kinds_T = torch.from_numpy(row.kinds)
        return torch.where(
            kinds_T == RATIO, -surrogate_T, torch.where(kinds_T == CROSS_ENTROPY, -logprob_T, 0.0)
        )

    return terms


def assert_same(actual: tuple[Gradient, float], expected: tuple[Gradient, float]) -> None:
    assert actual[1] == pytest.approx(expected[1], rel=1e-9)
    assert actual[0].keys() == expected[0].keys()
    for name, value in expected[0].items():
        torch.testing.assert_close(actual[0][name], value, rtol=1e-7, atol=1e-11)


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean"])
@pytest.mark.parametrize("seed", [0, 1])
def test_divergence_likelihood_and_nothing_mix_in_one_answer_under_two_teachers(
    student: LanguageModel, teachers: Teachers, tmp_path: Path, reduction: str, seed: int
) -> None:
    rows = random_rows(
        seed, (NONE, DIVERGENCE, CROSS_ENTROPY), lambda index: ("teacher", "specialist")[index % 2]
    )
    definition = settings({"kind": "reverse_kl"}, reduction=reduction)
    gradient, loss, statistics = differentiated(student, teachers, definition, rows, tmp_path)
    assert_same(
        (gradient, loss),
        expected(student, rows, divergence_or_likelihood(student, teachers), reduction),
    )
    for row, row_statistics in zip(rows, statistics, strict=True):
        compared = torch.from_numpy((row.kinds == DIVERGENCE) & (row.coefficients != 0))
        assert torch.equal(~row_statistics.divergence.isnan(), compared)


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean"])
def test_ratios_follow_their_anchors_and_advantages(
    student: LanguageModel, teachers: Teachers, tmp_path: Path, reduction: str
) -> None:
    rows = [replace(row, teacher="") for row in random_rows(2, (RATIO, CROSS_ENTROPY))]
    definition = settings({"kind": "grpo"}, reduction=reduction)
    objective = definition.stages[0].objective
    assert isinstance(objective, GRPO)
    gradient, loss, _ = differentiated(student, teachers, definition, rows, tmp_path)
    assert_same(
        (gradient, loss),
        expected(student, rows, ratio_or_likelihood(student, objective), reduction),
    )


class TeacherAnchored(GRPO):
    """RLAD's ratio, π_S / (π_old^½ π_T^½): it needs old and teacher's log-probs and verdicts."""

    kind: Literal["teacher_anchored"] = "teacher_anchored"  # type: ignore[assignment]
    function = "tests.trainer.text.test_mixed_update:teacher_anchored"
    needs = frozenset({Need.OLD_LOGPROB, Need.TEACHER_LOGPROB, Need.GROUP_VERDICTS})


def teacher_anchored(objective: TeacherAnchored, tokens: SampledTokens) -> TokenLoss:
    anchor_K = 0.5 * tokens.old_logprob + 0.5 * tokens.teacher_logprob
    radii = objective.clip_low, objective.clip_high
    return TokenLoss(clipped_surrogate(tokens.logprob, anchor_K, tokens.advantages, *radii))


def test_an_objective_may_need_old_and_teacher_log_probs_and_verdicts_together(
    student: LanguageModel, teachers: Teachers, tmp_path: Path
) -> None:
    rows = random_rows(7, (RATIO,), lambda index: ("teacher", "specialist")[index % 2])
    states = compute_teacher_states(teachers, rows, 64, range(len(rows)))
    rows = with_column(
        rows, "teacher_logprobs", teacher_logprobs(states, range(len(rows)), 1.0, World())
    )
    views = {view.name: view.language_model for view in teachers.loaded}
    for row in rows:
        law_TV = law(views[row.teacher], row.teacher_prompt, row.answer.ids).detach()
        exact_T = law_TV.gather(-1, torch.tensor(row.answer.ids)[:, None])[:, 0]
        np.testing.assert_allclose(column(row, "teacher_logprobs"), exact_T, atol=1e-5)
    objective = TeacherAnchored()
    definition = settings({"kind": "grpo"})
    stage = definition.stages[0].model_copy(update={"objective": objective})
    definition = definition.model_copy(update={"stages": (stage,)})
    gradient, loss, _ = differentiated(student, teachers, definition, rows, tmp_path)
    anchored = [
        replace(
            row,
            anchor_logprobs=0.5 * column(row, "anchor_logprobs")
            + 0.5 * column(row, "teacher_logprobs"),
        )
        for row in rows
    ]
    terms = ratio_or_likelihood(student, objective)
    # The mixture is rounded to float32 in one of the two.
    actual, exact = (gradient, loss), expected(student, anchored, terms, "sequence_mean")
    assert actual[1] == pytest.approx(exact[1], rel=1e-5)
    for name, value in exact[0].items():
        torch.testing.assert_close(actual[0][name], value, rtol=1e-4, atol=1e-6)


def column(row: TrainRow, name: str) -> NDArray[np.float32]:
    values: NDArray[np.float32] = getattr(row, name)
    return values


def test_a_kl_term_trains_rows_without_advantage_too(
    student: LanguageModel, teachers: Teachers, tmp_path: Path
) -> None:
    rows = [
        replace(
            row,
            teacher="",
            advantages=np.zeros_like(row.advantages),
            reference_logprobs=column(row, "anchor_logprobs") - np.float32(0.5),
        )
        for row in random_rows(8, (RATIO,))
    ]

    def terms(row: TrainRow) -> Tensor:
        ids_T = torch.tensor(row.answer.ids)[:, None]
        own_T = law(student, row.answer.prompt, row.answer.ids).gather(-1, ids_T)[:, 0]
        return 0.3 * (own_T - torch.from_numpy(row.reference_logprobs).double()).square() / 2

    definition = settings({"kind": "grpo", "kl": {"kind": "kl", "coefficient": 0.3}})
    gradient, loss, _ = differentiated(student, teachers, definition, rows, tmp_path)
    assert loss > 0
    assert_same((gradient, loss), expected(student, rows, terms, "sequence_mean"))


def test_rows_without_advantage_are_not_computed_but_count(
    student: LanguageModel, teachers: Teachers, tmp_path: Path
) -> None:
    flat = (0, 1, 5)
    rows = [
        replace(row, teacher="", coefficients=np.ones_like(row.coefficients))
        for row in random_rows(3, (RATIO,))
    ]
    rows = [
        replace(row, advantages=np.zeros_like(row.advantages)) if index in flat else row
        for index, row in enumerate(rows)
    ]
    definition = settings({"kind": "grpo"}, reduction="token_mean")
    objective = definition.stages[0].objective
    assert isinstance(objective, GRPO)
    gradient, loss, statistics = differentiated(student, teachers, definition, rows, tmp_path)
    assert_same(
        (gradient, loss),
        expected(student, rows, ratio_or_likelihood(student, objective), "token_mean"),
    )
    assert [
        bool(row_statistics.student_logprob.isnan().all()) for row_statistics in statistics
    ] == [index in flat for index in range(6)]


def test_a_round_in_which_no_row_can_change_the_student_has_no_gradient(
    student: LanguageModel, teachers: Teachers, tmp_path: Path
) -> None:
    rows = [
        replace(row, teacher="", advantages=np.zeros_like(row.advantages))
        for row in random_rows(4, (RATIO,))
    ]
    for number, round_rows in enumerate((rows, [])):
        gradient, loss, _ = differentiated(
            student, teachers, settings({"kind": "grpo"}), round_rows, tmp_path / str(number)
        )
        assert gradient == {} and loss == 0


@pytest.mark.parametrize(
    "score", ["entropy", "divergence", "soft_or", "confident_and_wrong", "random"]
)
def test_selected_tokens_alone_have_a_gradient(
    student: LanguageModel, teachers: Teachers, tmp_path: Path, score: str
) -> None:
    rows = [
        replace(row, coefficients=np.ones_like(row.coefficients))
        for row in random_rows(5, (DIVERGENCE, DIVERGENCE, CROSS_ENTROPY))
    ]
    tokens = {"kind": "selected", "score": score, "how": "sample", "share": 0.4}
    definition = settings({"kind": "reverse_kl"}, tokens=tokens)
    selected_rows = selection(student, teachers, definition.stages[0], rows)
    for before, after in zip(rows, selected_rows, strict=True):
        compared = before.kinds == DIVERGENCE
        assert (after.coefficients[~compared] == 1).all()
        assert (after.coefficients[compared] != 0).sum() == (
            max(1, int(0.4 * compared.sum())) if compared.any() else 0
        )
    gradient, loss, _ = differentiated(student, teachers, definition, selected_rows, tmp_path)
    assert_same(
        (gradient, loss),
        expected(
            student, selected_rows, divergence_or_likelihood(student, teachers), "sequence_mean"
        ),
    )


def selection(
    student: LanguageModel, teachers: Teachers, stage: Stage, rows: list[TrainRow]
) -> list[TrainRow]:
    every = range(len(rows))
    return score_and_select(
        student,
        rows,
        compute_teacher_states(teachers, rows, 64, every),
        stage,
        Noise(0, 0, "tokens"),
        64,
        False,
        every,
        World(),
    ).rows


def test_the_score_compares_with_the_teacher_of_each_row(
    student: LanguageModel, teachers: Teachers
) -> None:
    """One token of each answer is kept: where its own teacher differs most."""
    rows = [
        replace(row, coefficients=np.ones_like(row.coefficients))
        for row in random_rows(6, (DIVERGENCE,), lambda index: ("teacher", "specialist")[index % 2])
    ]
    tokens = {"kind": "selected", "score": "divergence", "how": "top", "share": 0.01}
    terms = divergence_or_likelihood(student, teachers)
    for row in selection(
        student, teachers, settings({"kind": "reverse_kl"}, tokens=tokens).stages[0], rows
    ):
        assert np.flatnonzero(row.coefficients).tolist() == [int(terms(row).argmax())]


@pytest.mark.parametrize("missing", ["advantages", "anchor_logprobs"])
def test_a_ratio_without_its_numbers_is_refused(
    student: LanguageModel, teachers: Teachers, tmp_path: Path, missing: str
) -> None:
    rows = random_rows(5, [RATIO])
    rows[1] = (
        replace(rows[1], advantages=None)
        if missing == "advantages"
        else replace(rows[1], anchor_logprobs=None)
    )
    with pytest.raises(ValueError, match=f"problem 0 .* has no {missing}"):
        differentiated(student, teachers, settings({"kind": "grpo"}), rows, tmp_path)
