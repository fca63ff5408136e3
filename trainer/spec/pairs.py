"""Preference pairs: where the chosen and the rejected answers of a stage come from."""

from __future__ import annotations

from typing import Literal

from trainer.spec.base import Section, option

SODA = "SODA, arXiv 2604.03873"


class Pairs(Section):
    """Pairs of a chosen and a rejected answer to one problem."""

    chosen: Literal["teacher", "solutions"] = option(
        "teacher",
        title="Chosen answers",
        help="teacher: answers that the teacher writes, or those of its file. solutions: the "
        "worked solutions of the data.",
        when={"source": ("pairs",)},
    )
    # SODA takes the answers of the student before any fine-tuning, also those to pairs that a
    # later, warmed-up student learns from.
    rejected: Literal["student_before_run", "student_before_stage", "column"] = option(
        "student_before_run",
        title="Rejected answers",
        help="student_before_run: the student's own answers, written once before the first step of "
        "the run. student_before_stage: the same, written before the stage. column: the rejected "
        "column of the teacher's file, whose rows are then pairs.",
        paper=SODA,
        when={"source": ("pairs",)},
    )
