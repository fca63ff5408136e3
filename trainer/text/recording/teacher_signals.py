"""Per-token signals of recorded answers that are not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from trainer.engine.loop import Runtime
from trainer.text.recording.rollout_files import Signals, token_signals
from trainer.text.rollouts.filters.verifier import plain_row
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import DIVERGENCE, Group, Prompt
from trainer.text.teachers.contexts import privileged_text
from trainer.text.training.components import RunComponents
from trainer.text.training.costs import count_read_by_teachers, count_scored
from trainer.text.training.score_phase import score_rows
from trainer.text.training.teacher_states import compute_teacher_states


def compute_token_signals(
    components: RunComponents, answers: Sequence[Answer], tokens: int, rt: Runtime
) -> list[Signals] | None:
    """Signals of each answer at temperature 1; the divergence is KL(student ‖ teacher).

    `tokens` ids are read at a time. None where no teacher gives probabilities.
    """
    teachers = components.teachers
    if not teachers.gives_probabilities:
        return None
    rows = []
    for answer in answers:
        question = components.questions[answer.problem.id]
        view = teachers.of(question.problem)
        prompt = view.prompt(question, privileged_text(view.context, question.problem, answer))
        group = Group(Prompt(question), (answer,))
        row = plain_row(0, group, answer, DIVERGENCE, None)
        rows.append(replace(row, teacher=view.name, teacher_prompt=prompt))
    scores = score_rows(
        components.student,
        rows,
        compute_teacher_states(teachers, rows, tokens),
        tokens,
        range(len(rows)),
    )
    count_scored(rt, components.student, answers)
    count_read_by_teachers(rt, teachers, rows)
    return [token_signals(components.student, row_scores) for row_scores in scores]
