"""Answers written by a run's teachers of any kind, in the student's tokens and with verdicts.

An answer that was sampled in the student's tokens is never encoded again, because its decoded text
may give other ids. A text from a file, an endpoint or a network with another tokenizer is encoded
here once, followed by the student's end token. From then on it is ids like every other answer, and
its text is what the ids decode to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
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
    """Answers to each question, in order, except to those that were set aside.

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
    per_question: int = 1,
) -> WrittenAnswers:
    """Have each question answered `per_question` times by its problem's teacher.

    A file may have fewer answers to a question; an endpoint may leave some out, and a question is
    set aside if it has none at all.

    Answers carry the *student's* prompt, followed by the student's ids, whatever the teacher's
    prompt was; those of a network with the student's tokenizer have its log-probs. An answer longer
    than `sampling.max_new_tokens` of the student's tokens is cut and counts as truncated. An
    endpoint's answers follow from no seed, only from what the run has cached.

    Raises ModelError for a text that the student's tokenizer cannot encode, ProblemError for a file
    without some answer, and Failure or RunRefused for an endpoint that does not answer.
    """
    answers: dict[int, list[Answer]] = {}
    for view in teachers.loaded:
        indices = [
            index
            for index, question in enumerate(questions)
            if teachers.view_of(question.problem) is view
        ]
        view_answers = iter(
            _sample_from(
                view,
                [questions[index] for index in indices],
                sampling,
                noise,
                writer,
                progress,
                per_question,
            )
        )
        answers |= {index: list(islice(view_answers, per_question)) for index in indices}
    remaining = [index for index in range(len(questions)) if index not in answers]
    if not remaining:
        return WrittenAnswers(_in_order(answers))
    remaining_questions = [questions[index] for index in remaining]
    completions = dict(
        zip(
            remaining,
            _text_completions(
                teachers.texts, remaining_questions, sampling, writer, progress, per_question
            ),
            strict=True,
        )
    )
    answered = {
        index: [completion for completion in to_question if not completion.set_aside]
        for index, to_question in completions.items()
    }
    set_aside = {
        index: completions[index][0].set_aside for index in remaining if not answered[index]
    }
    judged = iter(
        judge_texts(
            [questions[index] for index in remaining for _ in answered[index]],
            [completion for index in remaining for completion in answered[index]],
            sampling,
            writer,
            [sample for index in remaining for sample in range(len(answered[index]))],
        )
    )
    answers |= {index: list(islice(judged, len(answered[index]))) for index in remaining}
    return WrittenAnswers(
        _in_order(answers),
        endpoint_costs(teachers.texts, writer.run_dir)
        | _unanswered_metric(teachers.texts, set_aside),
        set_aside,
        _reasoning_notes(
            teachers.texts, [completion for index in remaining for completion in answered[index]]
        ),
    )


def _in_order(answers: Mapping[int, list[Answer]]) -> list[Answer]:
    return [answer for index in sorted(answers) for answer in answers[index]]


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
    per_question: int,
) -> list[Answer]:
    """Sample with the teacher's weights from its own prompts."""
    teacher_questions = [replace(question, prompt=view.prompt(question)) for question in questions]
    with view.in_place():
        answers = writer.sampler.sample_answers(
            view.language_model,
            teacher_questions,
            # A teacher's answer follows from the seed, the problem and its number alone.
            [tuple(range(per_question))] * len(teacher_questions),
            sampling,
            noise,
            "teacher",
            progress,
        )
    if not view.gives_probabilities:
        return judge_texts(
            [question for question in questions for _ in range(per_question)],
            [Completion(answer.text, answer.truncated, len(answer.ids)) for answer in answers],
            sampling,
            writer,
            [answer.sample for answer in answers],
        )
    prompts = [question.prompt for question in questions for _ in range(per_question)]
    return [replace(answer, prompt=prompt) for prompt, answer in zip(prompts, answers, strict=True)]


def _text_completions(
    teacher: TextTeacher | EndpointTeacher | None,
    questions: Sequence[Question],
    sampling: Sampling,
    writer: TeacherWriter,
    progress: Progress | None,
    per_question: int,
) -> list[list[Completion]]:
    assert teacher is not None
    if isinstance(teacher, TextTeacher):
        problems = [question.problem for question in questions]
        return [
            [Completion(text, False, 0) for text in texts]
            for texts in texts_for(teacher, problems, per_question)
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
            prompts, sampling, progress, per_question
        )
    )
    written = iter(
        replace(completion, text=completion.written(teacher.reasoning))
        for completion in completions
    )
    return [list(islice(written, per_question)) for _ in questions]


def judge_texts(
    questions: Sequence[Question],
    completions: Sequence[Completion],
    sampling: Sampling,
    writer: TeacherWriter,
    samples: Sequence[int],
) -> list[Answer]:
    """Encode texts in the student's tokens and judge them; `samples` are their numbers."""
    trajectories = [
        text_trajectory(writer.student, question, completion, sampling.max_new_tokens, sample)
        for question, completion, sample in zip(questions, completions, samples, strict=True)
    ]
    return writer.sampler.judge(
        writer.student, [question.problem for question in questions], trajectories, "teacher"
    )


def text_trajectory(
    student: LanguageModel, question: Question, completion: Completion, longest: int, sample: int
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
        sample,
        question.prompt,
        (segment,),
        completion.truncated or len(ids) < len(answer_tokens),
    )
