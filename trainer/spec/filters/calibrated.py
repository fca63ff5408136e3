from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from trainer.spec.base import CAOPD, option
from trainer.spec.filters.filter import FilterSettings


class CalibratedFilter(FilterSettings):
    """Each answer gets a verdict; its confidence is replaced by the problem's pass rate (CaOPD)."""

    kind: Literal["calibrated"] = "calibrated"
    function = "trainer.text.rollouts.filters.calibrated:build"
    edits_answers = True
    in_answer: bool = option(
        True,
        title="Replacement in the answer",
        help="Replace the confidence that the student wrote.",
        expert=True,
        paper=CAOPD,
    )
    in_privileged: bool = option(
        True,
        title="Replacement in the privileged text",
        help="Replace the confidence in the teacher's privileged text.",
        expert=True,
        paper=CAOPD,
    )
    in_note: bool = option(
        True,
        title="Note to the teacher",
        help="State the measured confidence in the teacher's prompt.",
        expert=True,
        paper=CAOPD,
    )
    # The note comes from the reference code, which places it before the closing request.
    note: str = option(
        "Over several attempts at this question, the right confidence was measured. State exactly "
        "this one:\n{confidence}",
        title="Text of the note",
        help="Note to the teacher, in characters of its tokenizer; `{confidence}` stands for the "
        "statement.",
        expert=True,
        max_length=2000,
        paper=CAOPD,
    )
    # One-hot is what forward KL becomes for a teacher that copies the number with certainty.
    target: Literal["teacher", "one_hot"] = option(
        "teacher",
        title="Confidence target",
        help="teacher: the teacher's distribution after the note. one_hot: the measured number "
        "itself, for teachers too small to copy it.",
        paper=CAOPD,
    )
    weight: float = option(
        1.0,
        title="Confidence weight",
        help="Weight of the tokens of the confidence relative to other tokens.",
        ge=0,
        le=100,
        expert=True,
    )

    @field_validator("note")
    @classmethod
    def _has_the_confidence(cls, note: str) -> str:
        if "{confidence}" not in note:
            raise ValueError(
                "must contain {confidence}, or the teacher does not read it; turn in_note off for "
                "no note"
            )
        return note

    def describe(self) -> str:
        return "each answer is judged, and its confidence replaced by the pass rate"
