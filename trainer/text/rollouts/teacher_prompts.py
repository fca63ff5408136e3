"""Prompts of the teachers for the answers of a round, with a measured confidence if any.

CaOPD (arXiv 2604.16830, section 3) overwrites the confidence in three texts, or the teacher would
pull the student back to certainty: in the student's answer (`confidence_filter`), in the privileged
text, and in a note that tells the teacher what to state.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.text.calibration.codec import Codec
from trainer.text.rollouts.questions import Answer
from trainer.text.rollouts.records import Group
from trainer.text.teachers.contexts import privileged_text
from trainer.text.teachers.loading import Teachers


@dataclass(frozen=True)
class TeacherPrompts:
    """A `TeacherContext`.

    `codec` writes a confidence into the privileged text, if there is one; `note` contains
    `{confidence}` or is empty.
    """

    teachers: Teachers
    codec: Codec | None = None
    in_privileged: bool = False
    note: str = ""

    def __call__(
        self, group: Group, answer: Answer, confidence: float | None
    ) -> tuple[str, tuple[int, ...]]:
        question = group.prompt.question
        view = self.teachers.of(question.problem)
        privileged = privileged_text(view.context, question.problem, answer, group.answers)
        note = ""
        if confidence is not None and self.codec is not None:
            # An empty text must stay empty: a statement alone would be shown as the solution.
            if privileged and self.in_privileged:
                privileged = self.codec.replace(privileged, confidence)
            note = self.note.replace("{confidence}", self.codec.render(confidence))
        return view.name, view.prompt(question, privileged, note)
