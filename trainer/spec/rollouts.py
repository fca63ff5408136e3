"""The pipeline stages of a rollout: generate → filter → control → replay."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from trainer.spec.base import CAOPD, Section, option
from trainer.spec.sampling import Sampling


class PlainGenerate(Section):
    """N independent answers to each problem."""

    kind: Literal["plain"] = "plain"
    # One answer, as in OPSD; GRPO and CaOPD compare several answers to a problem.
    per_problem: int = option(
        1,
        title="Answers per problem",
        help="Answers of the student to each problem of a step.",
        ge=1,
        le=1024,
        when={"source": ("student_rollouts",)},
    )
    sampling: Sampling = option(title="Sampling", help="Sampling of answers.", factory=Sampling)


class VerifierFilter(Section):
    """Each answer gets a verdict; none is removed or changed."""

    kind: Literal["verifier"] = "verifier"


class CalibratedFilter(Section):
    """Each answer gets a verdict; its confidence is replaced by the problem's pass rate (CaOPD)."""

    kind: Literal["calibrated"] = "calibrated"
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


class FixedControl(Section):
    """The same number of answers for each problem; the step waits for all of them."""

    kind: Literal["fixed"] = "fixed"


class NoReplay(Section):
    """No rollout is kept for a later round."""

    kind: Literal["none"] = "none"


class Rollouts(Section):
    """The pipeline stages of a rollout."""

    generate: PlainGenerate = option(
        title="Generate", help="How answers are generated.", factory=PlainGenerate
    )
    filter: Annotated[VerifierFilter | CalibratedFilter, Field(discriminator="kind")] = option(
        title="Filter",
        help="How answers are judged.",
        factory=VerifierFilter,
        expert=True,
        when={"source": ("student_rollouts",)},
    )
    control: FixedControl = option(
        title="Control",
        help="How many answers each problem gets.",
        factory=FixedControl,
        expert=True,
    )
    replay: NoReplay = option(
        title="Replay",
        help="Which rollouts are kept for later rounds.",
        factory=NoReplay,
        expert=True,
    )
