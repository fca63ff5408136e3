"""Pass rates with and without privileged text: whether the teacher can teach the student anything.

Three rates on the same held-out problems: the student with its own prompt; the teacher, with its
weights and its context, writing alone; and the teacher continuing the first half of the student's
answers. On-policy self-distillation asks the last of it at every token (OPSD, arXiv 2601.18734): a
teacher that only does well on its own text cannot correct the student's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trainer.engine.loop import Runtime
from trainer.spec.sampling import Sampling
from trainer.text.evaluation import intervals
from trainer.text.evaluation.intervals import Counts
from trainer.text.rollouts.answers import tally
from trainer.text.rollouts.engines.noise import Noise
from trainer.text.rollouts.questions import Answer, Question
from trainer.text.teachers.contexts import privileged_text
from trainer.text.teachers.teacher_view import TeacherView
from trainer.text.training.components import RunComponents
from trainer.text.training.costs import count_sampled

# Limits the cost: every problem is answered twice more at each evaluation.
MOST_PROBLEMS = 64


def measure(
    components: RunComponents,
    view: TeacherView,
    plain: Sequence[Answer],
    sampling: Sampling,
    seed: int,
    when: str,
    rt: Runtime,
) -> dict[str, float]:
    """Emit a `privileged` event and return its metrics.

    `plain` are the student's answers to held-out problems in order. Problems without privileged
    text are left out; if none is left, a log line replaces the event.
    """
    privileged_texts = _privileged_texts(view, plain)[:MOST_PROBLEMS]
    if not privileged_texts:
        rt.log.log(
            "info",
            "Privileged pass rates were not measured: no held-out problem has a worked solution "
            "to show the teacher.",
        )
        return {}
    student_answers = [answer for answer, _ in privileged_texts]
    questions = []
    for answer, text in privileged_texts:
        question = components.questions[answer.problem.id]
        questions.append(Question(question.problem, view.prompt(question, text), question.text))
    teacher_answers = _sample_from_teacher(
        components, view, questions, sampling, Noise(seed, 0, "privileged"), None, rt
    )
    prefixes = [answer.ids[: len(answer.ids) // 2] for answer in student_answers]
    continued = _sample_from_teacher(
        components, view, questions, sampling, Noise(seed, 0, "continuation"), prefixes, rt
    )
    counts = [
        tally([question.problem for question in questions], answers)
        for answers in (student_answers, teacher_answers, continued)
    ]
    event = _event(counts)
    rt.emit("privileged", when=when, problems=len(questions), samples=1, **event)
    return {
        "privileged/plain_pass_rate": event["plain"]["pass_rate"],
        "privileged/pass_rate": event["privileged"]["pass_rate"],
        "privileged/continuation_pass_rate": event["continuation"]["pass_rate"],
    }


def _privileged_texts(view: TeacherView, plain: Sequence[Answer]) -> list[tuple[Answer, str]]:
    """The first answer to each problem with the teacher's privileged text, where there is one."""
    groups: dict[str, list[Answer]] = {}
    for answer in plain:
        groups.setdefault(answer.problem.id, []).append(answer)
    answer_texts = [
        (group[0], privileged_text(view.context, group[0].problem, group[0], group))
        for group in groups.values()
    ]
    return [(answer, text) for answer, text in answer_texts if text.strip()]


def _sample_from_teacher(
    components: RunComponents,
    view: TeacherView,
    questions: Sequence[Question],
    sampling: Sampling,
    noise: Noise,
    prefixes: Sequence[tuple[int, ...]] | None,
    rt: Runtime,
) -> list[Answer]:
    with view.in_place():
        answers = components.sampler.sample_answers(
            view.language_model,
            questions,
            [(0,)] * len(questions),
            sampling,
            noise,
            "teacher",
            lambda done, of: rt.progress("evaluation", done, of),
            prefixes,
        )
    count_sampled(rt, view.language_model, answers)
    return answers


def _event(counts: Sequence[tuple[Counts, Counts]]) -> dict[str, Any]:
    plain, privileged, continued = counts
    difference, interval = intervals.difference(continued, plain)
    return {
        "plain": _rate(plain),
        "privileged": _rate(privileged),
        "continuation": _rate(continued),
        "difference": {"pass_rate": difference, "interval": interval},
    }


def _rate(counts: tuple[Counts, Counts]) -> dict[str, Any]:
    rate, interval = intervals.pass_rate(*counts)
    return {"pass_rate": rate, "interval": interval}
