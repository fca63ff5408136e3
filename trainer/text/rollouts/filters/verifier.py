"""The filter stage: a verdict for every answer; none is removed or changed.

With a ratio objective the verdicts of a problem's answers become advantages, as in GRPO (arXiv
2402.03300, section 4.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trainer.spec import Need, VerifierFilter
from trainer.text.language.models import LanguageModel
from trainer.text.objectives.advantages import group_advantages
from trainer.text.rollouts.answers import SamplerAndJudge
from trainer.text.rollouts.filters.filter_parts import FilterParts
from trainer.text.rollouts.protocols import TeacherContext
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import DroppedAnswer, Group, Prompt, TrainRow, Trajectory
from trainer.text.rollouts.teacher_prompts import TeacherPrompts


def build(_: VerifierFilter, parts: FilterParts) -> VerdictFilter:
    return verdict_filter(parts)


def verdict_filter(parts: FilterParts) -> VerdictFilter:
    objective = parts.stage.objective
    standardise = (
        objective.standardises_advantages if Need.GROUP_VERDICTS in objective.needs else None
    )
    context = TeacherPrompts(parts.teachers) if parts.stage.compares_with_teacher else None
    return VerdictFilter(parts.sampler, parts.student, parts.kind, context, standardise)


@dataclass(frozen=True)
class VerdictFilter:
    """Makes one row of each answer, whose tokens are all trained by `kind`.

    `context` is None without a teacher. `standardise` is None where verdicts are not trained on,
    else it says whether advantages are divided by their standard deviation.
    """

    sampler: SamplerAndJudge
    student: LanguageModel
    kind: int
    context: TeacherContext | None = None
    standardise: bool | None = None

    def judge(
        self, prompts: Sequence[Prompt], trajectories: Sequence[Sequence[Trajectory]]
    ) -> list[Group]:
        problems = [
            prompt.question.problem
            for prompt, samples in zip(prompts, trajectories, strict=True)
            for _ in samples
        ]
        answers = iter(
            self.sampler.judge(
                self.student,
                problems,
                [trajectory for samples in trajectories for trajectory in samples],
            )
        )
        return [
            Group(prompt, tuple(next(answers) for _ in samples))
            for prompt, samples in zip(prompts, trajectories, strict=True)
        ]

    def rows(self, groups: Sequence[Group]) -> tuple[list[TrainRow], list[DroppedAnswer]]:
        rows = [
            plain_row(owner, group, answer, self.kind, self.context)
            for owner, group in enumerate(groups)
            for answer in group.answers
        ]
        return (rows if self.standardise is None else with_advantages(rows, self.standardise)), []


def plain_row(
    owner: int,
    group: Group,
    answer: Answer,
    kind: int,
    context: TeacherContext | None,
    confidence: float | None = None,
) -> TrainRow:
    """Return an unchanged answer as a row.

    An answer to be learnt after another prompt than it was sampled with loses its log-probs.
    """
    teacher, teacher_prompt = context(group, answer, confidence) if context else ("", ())
    student_prompt = group.prompt.question.prompt
    # Log-probs after another prompt are those of another distribution. As an anchor they would make
    # every ratio wrong without an error.
    if answer.prompt != student_prompt:
        answer = replace(
            answer, prompt=student_prompt, logprobs=None, entropies=None, sampled_logprobs=None
        )
    # A teacher's log-probs are not those of the student's older policy, so they are no anchor.
    by_student = answer.source == "student"
    sampled_T = answer.sampled_logprobs if by_student else None
    return TrainRow(
        answer=answer,
        owner=owner,
        siblings=len(group.answers),
        weight=group.prompt.weight,
        teacher=teacher,
        teacher_prompt=teacher_prompt,
        kinds=np.full(len(answer.ids), kind, np.int8),
        coefficients=np.ones(len(answer.ids), np.float32),
        # The policy in training is the law that was sampled from, with its temperature.
        # Without those of forced tokens and of what a teacher has written there is no anchor.
        anchor_logprobs=None if sampled_T is None or np.isnan(sampled_T).any() else sampled_T,
        behaviour_logprobs=sampled_T,
        versions=answer.versions,
    )


def with_advantages(rows: Sequence[TrainRow], standardise: bool) -> list[TrainRow]:
    """Give every token of an answer its advantage over the other answers; 0 without a verdict."""
    rewards = [None if row.answer.verdict is None else float(row.answer.verdict) for row in rows]
    advantages = group_advantages(rewards, [row.owner for row in rows], standardise)
    return [
        replace(row, advantages=np.full(len(row.answer.ids), advantage, np.float32))
        for row, advantage in zip(rows, advantages, strict=True)
    ]
