"""Answers written by a run's teachers of any kind, in the student's tokens and with verdicts.

An answer that was sampled in the student's tokens is never encoded again, because its decoded text
may give other ids. A text from a file, an endpoint or a network with another tokenizer is encoded
here once, followed by the student's end token. From then on it is ids like every other answer, and
its text is what the ids decode to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from trainer.spec import EndpointTeacher, Sampling, TextTeacher
from trainer.text.language.chat import text_ids
from trainer.text.language.models import LanguageModel
from trainer.text.rollouts.answers import SamplerAndJudge
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.questions import Answer, Question
from trainer.text.rollouts.records import Progress, Segment, Trajectory
from trainer.text.teachers.completion_cache import Completion, CompletionCache
from trainer.text.teachers.contexts import privileged_text, prompt_text, shorten_to_limit
from trainer.text.teachers.endpoint import Endpoint
from trainer.text.teachers.loading import Teachers
from trainer.text.teachers.stored_texts import texts_for
from trainer.text.teachers.teacher_view import TeacherView

CACHE = "teacher_cache"
MILLION = 1e6


@dataclass(frozen=True)
class TeacherWriter:
    """The student that teachers write for, the sampler that judges, and the cache's `run_dir`."""

    student: LanguageModel
    sampler: SamplerAndJudge
    run_dir: Path


@dataclass(frozen=True)
class WrittenAnswers:
    """One answer to each question, in order, except to those that were set aside.

    `set_aside` has the reason by the index of the question. `metrics` are an endpoint's costs so
    far. `notes` are for the log.
    """

    answers: list[Answer]
    metrics: dict[str, float] = field(default_factory=dict)
    set_aside: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def write_answers(
    teachers: Teachers,
    questions: Sequence[Question],
    sampling: Sampling,
    noise: Noise,
    writer: TeacherWriter,
    progress: Progress | None = None,
) -> WrittenAnswers:
    """Have each question answered by its problem's teacher.

    Answers carry the *student's* prompt, followed by the student's ids, whatever the teacher's
    prompt was; those of a network with the student's tokenizer have its log-probs. An answer longer
    than `sampling.max_new_tokens` of the student's tokens is cut and counts as truncated. An
    endpoint's answers follow from no seed, only from what the run has cached.

    Raises ModelError for a text that the student's tokenizer cannot encode, ProblemError for a file
    without some answer, and Failure or RunRefused for an endpoint that does not answer.
    """
    answers: dict[int, Answer] = {}
    for view in teachers.loaded:
        indices = [
            index
            for index, question in enumerate(questions)
            if teachers.view_of(question.problem) is view
        ]
        answers |= zip(
            indices,
            _sample_from(
                view, [questions[index] for index in indices], sampling, noise, writer, progress
            ),
            strict=True,
        )
    remaining = [index for index in range(len(questions)) if index not in answers]
    if not remaining:
        return WrittenAnswers([answers[index] for index in range(len(questions))])
    remaining_questions = [questions[index] for index in remaining]
    completions = _text_completions(teachers.texts, remaining_questions, sampling, writer, progress)
    set_aside = {
        index: completion.set_aside
        for index, completion in zip(remaining, completions, strict=True)
        if completion.set_aside
    }
    answered = [completion for completion in completions if not completion.set_aside]
    answers |= zip(
        [index for index in remaining if index not in set_aside],
        _judge_texts(
            [questions[index] for index in remaining if index not in set_aside],
            answered,
            sampling,
            writer,
        ),
        strict=True,
    )
    return WrittenAnswers(
        [answers[index] for index in range(len(questions)) if index in answers],
        endpoint_costs(teachers.texts, writer.run_dir)
        | _unanswered_metric(teachers.texts, set_aside),
        set_aside,
        _reasoning_notes(teachers.texts, answered),
    )


def _unanswered_metric(
    teacher: TextTeacher | EndpointTeacher | None, set_aside: Mapping[int, str]
) -> dict[str, float]:
    if not isinstance(teacher, EndpointTeacher):
        return {}
    return {"teacher/unanswered": float(len(set_aside))}


def _reasoning_notes(
    teacher: TextTeacher | EndpointTeacher | None, completions: Sequence[Completion]
) -> list[str]:
    reasoned = sum(bool(completion.reasoning) for completion in completions)
    if not isinstance(teacher, EndpointTeacher) or not reasoned:
        return []
    kept = (
        "is left out of what the student learns (networks.teacher.reasoning); it is stored in the "
        "run's teacher_cache"
        if teacher.reasoning == "leave_out"
        else "stands before the answer, in <think> tags"
    )
    return [
        f"The endpoint returned reasoning beside {reasoned} of {len(completions)} answers. "
        f"It {kept}."
    ]


def endpoint_costs(
    teacher: TextTeacher | EndpointTeacher | None, run_dir: Path
) -> dict[str, float]:
    """Tokens that an endpoint has written for all attempts of this run, and their price."""
    if not isinstance(teacher, EndpointTeacher):
        return {}
    tokens = CompletionCache(run_dir / CACHE).tokens()
    return {"teacher/tokens": float(tokens), "teacher/cost": tokens * teacher.price / MILLION}


def _sample_from(
    view: TeacherView,
    questions: Sequence[Question],
    sampling: Sampling,
    noise: Noise,
    writer: TeacherWriter,
    progress: Progress | None,
) -> list[Answer]:
    """Sample with the teacher's weights from its own prompts."""
    teacher_questions = [replace(question, prompt=view.prompt(question)) for question in questions]
    with view.in_place():
        answers = writer.sampler.sample_answers(
            view.language_model,
            teacher_questions,
            # Always number 0: a teacher's answer follows from the seed and the problem alone.
            [(0,)] * len(teacher_questions),
            sampling,
            noise,
            "teacher",
            progress,
        )
    if not view.gives_probabilities:
        return _judge_texts(
            questions,
            [Completion(answer.text, answer.truncated, len(answer.ids)) for answer in answers],
            sampling,
            writer,
        )
    return [
        replace(answer, prompt=question.prompt)
        for question, answer in zip(questions, answers, strict=True)
    ]


def _text_completions(
    teacher: TextTeacher | EndpointTeacher | None,
    questions: Sequence[Question],
    sampling: Sampling,
    writer: TeacherWriter,
    progress: Progress | None,
) -> list[Completion]:
    assert teacher is not None
    if isinstance(teacher, TextTeacher):
        return [
            Completion(text, False, 0)
            for text in texts_for(teacher, [question.problem for question in questions])
        ]
    # An endpoint's tokenizer is unknown, so privileged texts are measured in the student's tokens.
    privileged_texts = [
        shorten_to_limit(
            writer.student, teacher.context, privileged_text(teacher.context, question.problem)
        )
        for question in questions
    ]
    prompts = [
        (
            *question.problem.history,
            ("user", prompt_text(teacher.context, question.text, privileged)),
        )
        for question, privileged in zip(questions, privileged_texts, strict=True)
    ]
    # One rank asks for all: a second request costs again and gets another answer.
    completions = writer.sampler.world.broadcast_from_leader(
        lambda: Endpoint(teacher, CompletionCache(writer.run_dir / CACHE)).write(
            prompts, sampling, progress
        )
    )
    return [
        replace(completion, text=completion.written(teacher.reasoning))
        for completion in completions
    ]


def _judge_texts(
    questions: Sequence[Question],
    completions: Sequence[Completion],
    sampling: Sampling,
    writer: TeacherWriter,
) -> list[Answer]:
    """Encode texts in the student's tokens and judge them."""
    trajectories = [
        _trajectory(writer.student, question, completion, sampling.max_new_tokens)
        for question, completion in zip(questions, completions, strict=True)
    ]
    return writer.sampler.judge(
        writer.student, [question.problem for question in questions], trajectories, "teacher"
    )


def _trajectory(
    student: LanguageModel, question: Question, completion: Completion, longest: int
) -> Trajectory:
    """Encode a text as a trajectory with unknown log-probs (NaN).

    The end token counts towards the answer's length, as it does where a model writes it.
    """
    text_tokens = text_ids(student, completion.text)
    # A cut text has no end token, or the student would learn to stop in the middle.
    answer_tokens = text_tokens if completion.truncated else (*text_tokens, student.eos_ids[0])
    ids = answer_tokens[:longest]
    unknown = np.full(len(ids), np.nan, np.float32)
    segment = Segment(ids, unknown, unknown, unknown, "teacher")
    return Trajectory(
        question.problem.id,
        0,
        question.prompt,
        (segment,),
        completion.truncated or len(ids) < len(answer_tokens),
    )
