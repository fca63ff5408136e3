"""Losses that are means over sampled tokens have the gradient under the law of sampling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.trainer.text import tiny
from tests.trainer.text.short_run import carried_out, column, short
from tests.trainer.text.tiny_run import spec
from trainer.engine.distributed.world import World
from trainer.engine.loop import Runtime
from trainer.events import EventLog
from trainer.spec import PlainContext
from trainer.spec.operation import Checkpoints
from trainer.text.language.models import LanguageModel
from trainer.text.problems import Problem
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import RATIO, TrainRow, with_column
from trainer.text.shapers.shaping import shape
from trainer.text.teachers.loading import Teachers
from trainer.text.teachers.snapshots import UnchangedWeights
from trainer.text.teachers.teacher_view import TeacherView
from trainer.text.training.micro_batch_loss import MicroBatchLoss
from trainer.text.training.score_phase import teacher_logprobs
from trainer.text.training.teacher_states import compute_teacher_states
from trainer.text.training.update import GROUP, TrainRound, compute_gradients

PROMPT = (5, 9, 4)
TEMPERATURES = [0.5, 0.8, 1.0, 1.5]


@pytest.fixture(scope="module")
def student() -> LanguageModel:
    return tiny.language_model("qwen2", "float64", seed=3)


@pytest.fixture(scope="module")
def teacher() -> LanguageModel:
    return tiny.language_model("qwen2", "float64", seed=4)


def law(model: LanguageModel, temperature: float) -> Tensor:
    """Log-probs [V] of the first token of an answer."""
    logits_V = model.model(torch.tensor([PROMPT])).logits[0, -1, : model.vocabulary]
    return (logits_V / temperature).log_softmax(-1)


def expected_gradient(
    objective: str | dict[str, Any],
    temperature: float,
    student: LanguageModel,
    teacher: LanguageModel,
    advantages_V: Tensor | None,
    folder: Path,
    shapers: dict[str, Any] | None = None,
) -> dict[str, Tensor]:
    """The gradient of an update on all answers of one token, in proportion to their probability."""
    definition = spec(
        stages=[
            {
                "name": "only",
                "objective": {"kind": objective} if isinstance(objective, str) else objective,
                "shapers": shapers or {},
                "reduction": "sequence_sum",
                "rollouts": {
                    "generate": {"per_problem": 2, "sampling": {"temperature": temperature}}
                },
            }
        ]
    )
    stage, count = definition.stages[0], student.vocabulary
    with torch.no_grad():
        own_V = law(student, temperature)
    rows = [
        TrainRow(
            Answer(Problem("p", "?", "1"), id, "student", PROMPT, (id,), False, "", True, ""),
            0,
            count,
            1.0,
            "teacher",
            PROMPT,
            np.array([RATIO], np.int8),
            # The number of answers cancels the mean over them.
            np.array([float(own_V[id].exp()) * count], np.float32),
            advantages=None
            if advantages_V is None
            else np.array([float(advantages_V[id])], np.float32),
            anchor_logprobs=np.array([float(own_V[id])], np.float32),
        )
        for id in range(count)
    ]
    view = TeacherView("teacher", teacher, PlainContext(), UnchangedWeights(), 16)
    states = compute_teacher_states(Teachers(count, view), rows, 64)
    if stage.compares_with_teacher:
        logprobs = teacher_logprobs(states, range(count), temperature, World())
        rows = with_column(rows, "teacher_logprobs", logprobs)
    rows = shape(rows, stage)
    rt = Runtime(folder, EventLog(folder / "events", 1), torch.device("cpu"), Checkpoints(), 0)
    parameters = dict(student.model.named_parameters())
    student.model.zero_grad()
    rt.group(GROUP, parameters)
    round = TrainRound(stage, [1.0], rows, states, range(count))
    compute_gradients(MicroBatchLoss(student), definition, round, rt)
    return gradients(student)


def gradients(student: LanguageModel) -> dict[str, Tensor]:
    return {
        name: parameter.grad.clone()
        for name, parameter in student.model.named_parameters()
        if parameter.grad is not None
    }


def assert_same(actual: dict[str, Tensor], loss: Tensor, student: LanguageModel) -> None:
    student.model.zero_grad()
    loss.backward()
    for name, value in gradients(student).items():
        # Coefficients and anchors are float32.
        torch.testing.assert_close(actual[name], value, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_policy_gradient_is_that_of_the_reverse_kl_at_the_sampling_temperature(
    student: LanguageModel, teacher: LanguageModel, temperature: float, tmp_path: Path
) -> None:
    actual = expected_gradient("policy_gradient", temperature, student, teacher, None, tmp_path)
    own_V = law(student, temperature)
    with torch.no_grad():
        other_V = law(teacher, temperature)
    assert_same(actual, (own_V.exp() * (own_V - other_V)).sum(), student)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_gradient_of_grpo_is_that_of_the_expected_advantage_of_sampled_answers(
    student: LanguageModel, teacher: LanguageModel, temperature: float, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(1)
    advantages_V = torch.randn(student.vocabulary, generator=generator)
    actual = expected_gradient("grpo", temperature, student, teacher, advantages_V, tmp_path)
    expected_V = law(student, temperature).exp() * advantages_V
    assert_same(actual, -expected_V.sum(), student)


KL_TERM = {"kind": "kl", "to": "teacher", "coefficient": 0.5}


def kl_gradient(
    form: str, temperature: float, student: LanguageModel, teacher: LanguageModel, folder: Path
) -> dict[str, Tensor]:
    """The expected gradient of half the KL to the teacher, in one of its three forms."""
    term = {"kind": "none"} if form == "k1" else KL_TERM | {"estimator": form}
    shapers = {"kl": {"to": "teacher", "coefficient": 0.5}} if form == "k1" else {}
    none_V = torch.zeros(student.vocabulary)
    objective = {"kind": "grpo", "kl": term}
    return expected_gradient(objective, temperature, student, teacher, none_V, folder, shapers)


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("form", ["k1", "k2"])
def test_k1_in_the_advantage_and_k2_as_a_loss_have_the_gradient_of_the_reverse_kl(
    student: LanguageModel, teacher: LanguageModel, form: str, temperature: float, tmp_path: Path
) -> None:
    actual = kl_gradient(form, temperature, student, teacher, tmp_path)
    own_V = law(student, temperature)
    with torch.no_grad():
        other_V = law(teacher, temperature)
    assert_same(actual, 0.5 * (own_V.exp() * (own_V - other_V)).sum(), student)


def test_k3_as_a_loss_has_the_gradient_of_the_forward_kl_instead(
    student: LanguageModel, teacher: LanguageModel, tmp_path: Path
) -> None:
    actual = kl_gradient("k3", 1.0, student, teacher, tmp_path)
    own_V = law(student, 1.0)
    with torch.no_grad():
        other_V = law(teacher, 1.0)
    assert_same(actual, 0.5 * (other_V.exp() * (other_V - own_V)).sum(), student)
    reverse = kl_gradient("k2", 1.0, student, teacher, tmp_path / "k2")
    distance = sum(float((actual[name] - reverse[name]).norm() ** 2) for name in reverse) ** 0.5
    size = sum(float(value.norm() ** 2) for value in reverse.values()) ** 0.5
    assert distance > 0.05 * size


@pytest.mark.parametrize("sampling", [{}, {"temperature": 1.2}, {"temperature": 1.4}])
def test_the_first_update_of_a_run_has_ratios_of_one(
    tmp_path: Path, sampling: dict[str, Any]
) -> None:
    definition = short(
        {
            "objective": {"kind": "grpo", "clip_low": 1e-3, "clip_high": 1e-3},
            "problems_per_step": 12,
            "rollouts": {"generate": {"per_problem": 8, "sampling": sampling}},
            "until": {"steps": 1},
        }
    )
    # With another law on either side most ratios would be beyond a clip range this narrow.
    assert column(carried_out(definition, tmp_path), "ratio/clipped_share") == [0.0]
