"""The student reads tokens whose anchor is unknown, and those of another law, as it learns them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainer.text.tiny import language_model
from tests.trainer.text.tiny_run import spec
from trainer.engine.distributed.world import World
from trainer.spec import RunSpec
from trainer.text.language.heads import head_of, last_hidden
from trainer.text.language.models import LanguageModel
from trainer.text.problems import Problem
from trainer.text.rollouts.filters.verifier import plain_row
from trainer.text.rollouts.questions import Answer, Question
from trainer.text.rollouts.records import RATIO, Group, Prompt, Segment, TrainRow, Trajectory
from trainer.text.training.student_logprobs import LogprobReader, with_anchors

SEEDED, OWN = (9, 8, 7, 5), (5, 9, 4)
IDS = (3, 6, 11, 2)


@pytest.fixture(scope="module")
def student() -> LanguageModel:
    return language_model()


def segment(ids: tuple[int, ...], source: Any, version: int) -> Segment:
    known = np.linspace(-3, -1, len(ids)).astype(np.float32)
    return Segment(ids, known, known, known, source, version)


def learnt(segments: Sequence[Segment], prompt: tuple[int, ...] = OWN) -> TrainRow:
    """An answer of these segments as a row, learnt after the prompt `OWN`."""
    problem = Problem("a", "?", "1")
    trajectory = Trajectory("a", 0, prompt, tuple(segments), False)
    law_T = trajectory.law_logprobs
    answer = Answer(
        problem,
        0,
        "student",
        prompt,
        trajectory.ids,
        False,
        "",
        True,
        "",
        sampled_logprobs=None if np.isnan(law_T).all() else law_T,
        versions=trajectory.versions,
    )
    return plain_row(0, Group(Prompt(Question(problem, OWN, "?")), (answer,)), answer, RATIO, None)


def definition(kind: str = "grpo", temperature: float = 1.0) -> RunSpec:
    generate = {"per_problem": 2, "sampling": {"temperature": temperature}}
    stage = {"name": "a", "objective": {"kind": kind}, "rollouts": {"generate": generate}}
    return spec(stages=[stage])


def anchored(row: TrainRow, student: LanguageModel, run_spec: RunSpec) -> TrainRow:
    stage = run_spec.stages[0]
    temperature = stage.rollouts.generate.sampling.temperature
    reader = LogprobReader(student, 40, temperature, World())
    (done,), _ = with_anchors([row], run_spec, stage, 5, reader)
    return done


def anchor(row: TrainRow) -> Any:
    assert row.anchor_logprobs is not None
    return row.anchor_logprobs


def law_of(row: TrainRow) -> Any:
    assert row.behaviour_logprobs is not None
    return row.behaviour_logprobs


def law(student: LanguageModel, ids: tuple[int, ...], temperature: float) -> Any:
    with torch.no_grad():
        logits_TV = student.model(torch.tensor([(*OWN, *ids)])).logits[0, len(OWN) - 1 : -1]
    log_TV = (logits_TV[:, : student.vocabulary] / temperature).log_softmax(-1)
    return log_TV.gather(-1, torch.tensor(ids)[:, None])[:, 0].numpy()


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_an_answer_sampled_after_another_prompt_gets_its_anchor_under_its_own(
    student: LanguageModel, temperature: float
) -> None:
    row = learnt([segment(IDS, "student", 5)], SEEDED)
    assert row.anchor_logprobs is None and row.behaviour_logprobs is None
    done = anchored(row, student, definition(temperature=temperature))
    np.testing.assert_allclose(anchor(done), law(student, IDS, temperature), atol=1e-5)
    assert (done.coefficients == 1).all()


def test_a_spliced_answer_is_anchored_as_a_whole_and_its_foreign_tokens_weigh_one(
    student: LanguageModel,
) -> None:
    """The student's own tokens are of older weights, and so weighed by what these gave them."""
    row = learnt([segment(IDS, "student", 3), segment((7, 4, 2), "teacher", 0)])
    assert row.anchor_logprobs is None and row.behaviour_logprobs is not None
    done = anchored(row, student, definition())
    own_T = law(student, (*IDS, 7, 4, 2), 1.0)
    np.testing.assert_allclose(anchor(done), own_T, atol=1e-5)
    weights_T = np.minimum(np.exp(own_T[:4] - law_of(row)[:4]), 2)
    np.testing.assert_allclose(done.coefficients, [*weights_T, 1, 1, 1], rtol=1e-4)


def test_what_a_teacher_alone_has_written_is_anchored_and_never_weighed(
    student: LanguageModel,
) -> None:
    row = learnt([segment(IDS, "teacher", 0)])
    assert row.behaviour_logprobs is None
    done = anchored(row, student, definition())
    np.testing.assert_allclose(anchor(done), law(student, IDS, 1.0), atol=1e-5)
    assert (done.coefficients == 1).all()


def test_an_edited_answer_is_anchored_as_it_stands(student: LanguageModel) -> None:
    row = replace(
        learnt([segment(IDS, "student", 5)]),
        anchor_logprobs=None,
        behaviour_logprobs=None,
        edited=True,
    )
    done = anchored(row, student, definition())
    np.testing.assert_allclose(anchor(done), law(student, IDS, 1.0), atol=1e-5)


def test_a_resumed_answer_is_weighed_by_the_weights_of_each_segment(
    student: LanguageModel,
) -> None:
    """Also where a divergence is learnt, which has no ratio of its own."""
    row = learnt([segment(IDS, "student", 3), segment((7, 2), "student", 5)])
    for kind in ("grpo", "reverse_kl"):
        done = anchored(row, student, definition(kind))
        own_T = law(student, (*IDS, 7, 2), 1.0)
        weights_T = np.minimum(np.exp(own_T - law_of(row)), 2)
        np.testing.assert_allclose(done.coefficients, weights_T, rtol=1e-4)
        np.testing.assert_allclose(anchor(done), own_T, atol=1e-5)


def test_fresh_answers_and_those_without_a_ratio_are_not_read(student: LanguageModel) -> None:
    fresh = learnt([segment(IDS, "student", 5)])
    seeded = learnt([segment(IDS, "student", 5)], SEEDED)
    reader = LogprobReader(student, 40, 1.0, World())
    for row, run_spec in ((fresh, definition()), (seeded, definition("reverse_kl"))):
        done, read = with_anchors([row], run_spec, run_spec.stages[0], 5, reader)
        assert done == [row] and not read


def test_a_student_that_updates_in_bfloat16_is_read_in_it(student: LanguageModel) -> None:
    rows = [learnt([segment(tuple(range(3, 3 + n)), "student", 5)]) for n in (3, 9, 17)]
    distances: dict[bool, float] = {}
    with torch.autocast("cpu", torch.bfloat16):
        read = LogprobReader(student, 40, 1.0, World()).read(rows)
    for bfloat16 in (True, False):
        differences = []
        for row, read_T in zip(rows, read, strict=True):
            ids = torch.tensor(row.answer.ids)
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
                hidden_TH = last_hidden(student.model, torch.tensor([OWN + row.answer.ids]))
            logits_TV = head_of(student.model).logits(
                hidden_TH[0, len(OWN) - 1 : -1], student.vocabulary
            )
            own_T = logits_TV.log_softmax(-1).gather(-1, ids[:, None])[:, 0].detach().numpy()
            differences.append(np.abs(read_T - own_T).mean())
        distances[bfloat16] = float(np.mean(differences))
    assert distances[True] < distances[False] / 2
