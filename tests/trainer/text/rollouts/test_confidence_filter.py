"""CaOPD's replacement of the student's stated confidence by the measured pass rate.

Reasoning, statement and end token are each trained in their own way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.text.rollouts.rounds import ToyEngine, prompts, student, view
from trainer.spec import CalibratedFilter, NumericVerifier, PlainGenerate
from trainer.spec.confidence import StatedConfidence
from trainer.spec.sampling import Sampling
from trainer.text.calibration.codec import Codec
from trainer.text.language.chat import text_ids
from trainer.text.language.tokenizers import decode
from trainer.text.problems import Problem
from trainer.text.rollouts.answers import SamplerAndJudge
from trainer.text.rollouts.controllers.fixed import FixedController
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.filters.calibrated import ConfidenceFilter
from trainer.text.rollouts.filters.verifier import VerdictFilter
from trainer.text.rollouts.generators.plain import PlainGenerator
from trainer.text.rollouts.pipeline import RolloutPipeline
from trainer.text.rollouts.questions import Answer, Question
from trainer.text.rollouts.records import (
    CROSS_ENTROPY,
    DIVERGENCE,
    Group,
    Prompt,
    Segment,
    TrainRow,
    Trajectory,
)
from trainer.text.rollouts.replays.none import EmptyReplay
from trainer.text.rollouts.teacher_prompts import TeacherPrompts
from trainer.text.teachers.loading import Teachers
from trainer.text.verifiers import Verifier

CODEC = Codec(StatedConfidence(wording=" conf:{value}", own_line=False, decimals=2, instruction=""))
VERDICTS = st.lists(st.sampled_from([True, False, None]), min_size=1, max_size=8)
REASONINGS = st.text("0123456789+=", max_size=12)


@pytest.fixture(scope="module")
def sampler() -> Iterator[SamplerAndJudge]:
    with Verifier(NumericVerifier()) as verifier:
        yield SamplerAndJudge(verifier, "{question}", rows=lambda: 8)


def no_context(
    group: Group, answer: Answer, confidence: float | None
) -> tuple[str, tuple[int, ...]]:
    return "teacher", (int(1000 * (confidence or 0)),)


def rewriting(
    sampler: SamplerAndJudge, longest: int = 64, context: Any = no_context, **changes: Any
) -> ConfidenceFilter:
    return ConfidenceFilter(
        VerdictFilter(sampler, student(), DIVERGENCE, context),
        CalibratedFilter(**changes),
        CODEC,
        longest,
    )


def answer(text: str, verdict: bool | None, sample: int = 0, truncated: bool = False) -> Answer:
    ids = (*text_ids(student(), text), *([] if truncated else student().eos_ids[:1]))
    numbers = np.linspace(-1, 0, len(ids), dtype=np.float32)
    return Answer(
        Problem("a", "1+1", "2"),
        sample,
        "student",
        (3, 4),
        ids,
        truncated,
        text,
        verdict,
        "",
        numbers,
        numbers,
        numbers,
        (0,),
    )


def group(texts: Sequence[str], verdicts: Sequence[bool | None], **changes: Any) -> Group:
    answers = tuple(
        answer(text, verdict, sample, **changes)
        for sample, (text, verdict) in enumerate(zip(texts, verdicts, strict=True))
    )
    return Group(Prompt(Question(answers[0].problem, (3, 4), "1+1")), answers)


def only(rows: list[TrainRow]) -> TrainRow:
    (row,) = rows
    return row


@settings(deadline=None, max_examples=60)
@given(
    st.data(), VERDICTS, st.sampled_from(["teacher", "one_hot"]), st.sampled_from([0.0, 0.5, 3.0])
)
def test_every_answer_states_the_pass_rate_of_its_problem(
    sampler: SamplerAndJudge,
    data: st.DataObject,
    verdicts: list[bool | None],
    target: str,
    weight: float,
) -> None:
    reasonings = [data.draw(REASONINGS) for _ in verdicts]
    texts = [
        reasoning + data.draw(st.sampled_from(["", " conf:0.90", " conf:1.00", " conf:0.5"]))
        for reasoning in reasonings
    ]
    rows, dropped = rewriting(sampler, target=target, weight=weight).rows([group(texts, verdicts)])
    judged = [verdict for verdict in verdicts if verdict is not None]
    if not judged:
        assert not rows and [drop.reason for drop in dropped] == ["no verdict"] * len(verdicts)
        return
    rate = sum(judged) / len(judged)
    assert not dropped and len(rows) == len(verdicts)
    for row, reasoning, text in zip(rows, reasonings, texts, strict=True):
        reasoning_ids = text_ids(student(), reasoning)
        statement = text_ids(student(), CODEC.render(rate))
        assert row.answer.ids == (*reasoning_ids, *statement, student().eos_ids[0])
        assert row.answer.text == decode(student(), row.answer.ids) and CODEC.read(
            row.answer.text
        ).value == CODEC.rounded(rate)
        learnt = CROSS_ENTROPY if target == "one_hot" else DIVERGENCE
        assert row.kinds.tolist() == [DIVERGENCE] * len(reasoning_ids) + [learnt] * len(
            statement
        ) + [CROSS_ENTROPY]
        assert row.coefficients.tolist() == [1.0] * len(reasoning_ids) + [weight] * len(
            statement
        ) + [1.0]
        assert (
            row.edited
            and row.anchor_logprobs is None
            and row.behaviour_logprobs is None
            and row.answer.entropies is None
        )
        assert row.target_confidence == rate and row.confidence == CODEC.read(text).value
        assert row.teacher_prompt == (int(1000 * rate),) and row.siblings == len(verdicts)


def test_the_divergence_never_reaches_beyond_the_statement(sampler: SamplerAndJudge) -> None:
    for changes in ({}, {"target": "one_hot"}, {"in_answer": False}):
        row = only(rewriting(sampler, **changes).rows([group(["1+1=2 conf:0.90"], [True])])[0])
        assert (
            row.answer.ids[-1] in student().eos_ids
            and row.kinds[-1] == CROSS_ENTROPY
            and row.coefficients[-1] == 1
        )


def test_an_answer_that_was_cut_stays_as_it_is_and_counts_as_a_failure(
    sampler: SamplerAndJudge,
) -> None:
    truncated_group = group(["1+1=2+0"], [False], truncated=True)
    finished_group = group(["1+1=2 conf:0.90"], [True])
    mixed_group = replace(
        truncated_group,
        answers=(*truncated_group.answers, replace(finished_group.answers[0], sample=1)),
    )
    first, second = rewriting(sampler).rows([mixed_group])[0]
    assert (
        first.answer.ids == mixed_group.answers[0].ids
        and not first.edited
        and first.anchor_logprobs is not None
    )
    assert (
        first.kinds == DIVERGENCE
    ).all() and first.target_confidence == second.target_confidence == 0.5
    assert second.edited


def test_a_statement_that_is_left_to_the_student_keeps_its_log_probs(
    sampler: SamplerAndJudge,
) -> None:
    row = only(
        rewriting(sampler, in_answer=False, weight=0.25).rows([group(["1+1=2 conf:0.90"], [True])])[
            0
        ]
    )
    assert (
        not row.edited and row.anchor_logprobs is not None and row.answer.text == "1+1=2 conf:0.90"
    )
    assert row.coefficients.tolist() == [1.0] * 5 + [0.25] * 10 + [1.0]
    assert row.kinds.tolist() == [DIVERGENCE] * 15 + [CROSS_ENTROPY]
    missing = only(rewriting(sampler, in_answer=False).rows([group(["1+1=2"], [True])])[0])
    assert (missing.kinds == DIVERGENCE).all()


def test_a_rewritten_answer_is_no_longer_than_the_longest(sampler: SamplerAndJudge) -> None:
    row = only(rewriting(sampler, longest=14).rows([group(["1+1=2+0+0+0"], [True])])[0])
    assert row.answer.text == "1+1 conf:1.00" and len(row.answer.ids) == 14


@settings(deadline=None, max_examples=15)
@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=4), st.integers(2, 4), st.integers(0, 5)
)
def test_replaced_tokens_are_accounted_for(
    sampler: SamplerAndJudge, names: list[str], count: int, seed: int
) -> None:
    generate = PlainGenerator(
        PlainGenerate(per_problem=count, sampling=Sampling(max_new_tokens=16))
    )
    rounds = RolloutPipeline(
        ToyEngine(), generate, rewriting(sampler, 30), FixedController(), EmptyReplay()
    )
    done = rounds.run_round(prompts(*names), Noise(seed, 0), 0)
    messages = done.telemetry
    assert messages.generated == messages.consumed + sum(messages.dropped.values()) and set(
        messages.dropped
    ) <= {
        "replaced",
        "no verdict",
    }
    edited = [row for row in done.rows if row.edited]
    assert messages.share_edited == (len(edited) / len(done.rows) if done.rows else 0)
    assert not edited or messages.dropped["replaced"] > 0


def read(reading: TeacherPrompts, confidence: float | None, solution: str = "") -> str:
    question = Problem("a", "1+1", "2", solution)
    target = replace(answer("1+1=3 conf:1.00", False), problem=question)
    name, ids = reading(
        Group(Prompt(Question(question, (3, 4), "1+1?")), (target,)), target, confidence
    )
    assert name == "teacher"
    return decode(student(), ids)


def test_the_teacher_reads_the_measured_confidence_wherever_one_stood() -> None:
    teachers = Teachers(student().vocabulary, view())
    prompts = TeacherPrompts(teachers, CODEC, in_privileged=True, note="note{confidence}")
    assert (
        read(prompts, 0.25, solution="1+1=2 conf:1.00")
        == "1+1?\n1+1=2 conf:0.25\n\nnote conf:0.25\n="
    )
    assert (
        read(replace(prompts, note=""), 0.25, solution="1+1=2 conf:1.00")
        == "1+1?\n1+1=2 conf:0.25\n="
    )
    assert (
        read(replace(prompts, in_privileged=False), 0.25, solution="1+1=2 conf:1.00")
        == "1+1?\n1+1=2 conf:1.00\n\nnote conf:0.25\n="
    )


def test_without_a_measured_confidence_the_teacher_reads_what_there_is() -> None:
    assert (
        read(TeacherPrompts(Teachers(student().vocabulary, view())), None, solution="1+1=2")
        == "1+1?\n1+1=2\n="
    )


def test_the_verifier_reads_an_answer_without_its_confidence(sampler: SamplerAndJudge) -> None:
    segment = Segment(
        text_ids(student(), "1+1=2 conf:0.90"), *(np.zeros(15, np.float32),) * 3, "student"
    )
    trajectory = Trajectory("a", 0, (3, 4), (segment,), truncated=False)
    stating = replace(sampler, codec=CODEC)
    (judged,) = stating.judge(student(), [Problem("a", "1+1", "2")], [trajectory])
    assert judged.verdict and judged.read == "2" and judged.text == "1+1=2 conf:0.90"


def test_a_question_asks_for_the_confidence_that_is_to_be_stated(sampler: SamplerAndJudge) -> None:
    stating = replace(
        sampler, codec=Codec(CODEC.settings.model_copy(update={"instruction": "cite conf:"}))
    )
    (question,) = stating.questions(student(), [Problem("a", "1+1", "2")], 8)
    assert (
        question.text == "1+1\ncite conf:" and decode(student(), question.prompt) == question.text
    )
