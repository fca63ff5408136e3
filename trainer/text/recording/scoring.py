"""Per-token signals of answers that are kept to be read but not trained on."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.engine.loop import Runtime
from trainer.text.recording.recording import Signals, signals_of
from trainer.text.rollouts.answers import Answer
from trainer.text.rollouts.filter import plain_row
from trainer.text.rollouts.records import DIVERGENCE, Group, Prompt
from trainer.text.teachers import privileged_text
from trainer.text.training.costs import count_read_by_teachers, count_scored
from trainer.text.training.materials import Materials
from trainer.text.training.teacher_states import read_by_teachers
from trainer.text.training.token_selection import score_rows


def scored(
    materials: Materials, answers: Sequence[Answer], tokens: int, rt: Runtime
) -> list[Signals] | None:
    """Signals of each answer at temperature 1; the divergence is KL(student ‖ teacher). None where
    no teacher's probabilities are known.

    `tokens` is how many ids are read at a time.
    """
    teachers = materials.teachers
    if not teachers.gives_probabilities:
        return None
    rows = []
    for answer in answers:
        question = materials.questions[answer.problem.id]
        view = teachers.of(question.problem)
        prompt = (
            view.name,
            view.prompt(question, privileged_text(view.context, question.problem, answer)),
        )
        rows.append(
            plain_row(
                0,
                Group(Prompt(question), (answer,)),
                answer,
                DIVERGENCE,
                lambda *_, found=prompt: found,
            )
        )
    scores = score_rows(
        materials.student, rows, read_by_teachers(teachers, rows, tokens), tokens, range(len(rows))
    )
    count_scored(rt, materials.student, answers)
    count_read_by_teachers(rt, teachers, rows)
    return [signals_of(materials.student, part) for part in scores]
