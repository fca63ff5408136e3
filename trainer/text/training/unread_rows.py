"""Rows that their teacher could not read: nothing is learnt from them, and the log says why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from trainer.engine.loop import Runtime
from trainer.text.rollouts.records import TrainRow
from trainer.text.training.teacher_states import TeacherStates


def set_unread_aside(rows: list[TrainRow], states: TeacherStates, rt: Runtime) -> list[TrainRow]:
    """Return the rows with coefficient 0 at all tokens of those that a teacher could not read.

    They stay rows of the round, so that every rank has the same and Z counts them as rows without
    a token that is trained on. A collective: every rank must call it.
    """
    unread = dict(rt.world.concatenate([*states.unread.items()]))
    if not unread:
        return rows
    index, reason = next(iter(unread.items()))
    rt.log.log(
        "warning",
        f"{len(unread)} of {len(rows)} answers of this step have no scores of their teacher and "
        f"are not trained on; of one to problem {rows[index].answer.problem.id}: {reason}.",
    )
    return [
        replace(row, coefficients=np.zeros_like(row.coefficients)) if index in unread else row
        for index, row in enumerate(rows)
    ]
