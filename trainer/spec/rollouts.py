"""The four rooms that a rollout passes: Generate → Filter → Control → Replay."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from trainer.spec.base import Section, option
from trainer.spec.sampling import Sampling

CAOPD = "CaOPD, arXiv 2604.16830"


class PlainGenerate(Section):
    """N independent answers to each problem."""

    kind: Literal["plain"] = "plain"
    per_problem: int = option(
        1,
        title="Answers per problem",
        help="Student rollouts of each problem in a step.",
        ge=1,
        le=1024,
    )
    sampling: Sampling = option(title="Sampling", help="How answers are drawn.", factory=Sampling)


class VerifierFilter(Section):
    """Every answer gets a verdict; none is removed or changed."""

    kind: Literal["verifier"] = "verifier"


class CalibratedFilter(Section):
    """Every answer gets a verdict, and the confidence that it states is replaced by the pass rate
    of its problem's answers (CaOPD).
    """

    kind: Literal["calibrated"] = "calibrated"
    in_answer: bool = option(
        True,
        title="In the answer",
        help="Replace the confidence that the student wrote.",
        expert=True,
        paper=CAOPD,
    )
    in_privileged: bool = option(
        True,
        title="In what the teacher is shown",
        help="Replace the confidence in the privileged text.",
        expert=True,
        paper=CAOPD,
    )
    in_note: bool = option(
        True,
        title="In a note to the teacher",
        help="Tell the teacher the measured confidence.",
        expert=True,
        paper=CAOPD,
    )
    note: str = option(
        "Over several attempts at this question, the right confidence was measured. State exactly this one:\n{confidence}",
        title="Note",
        help="What the teacher is told, in characters that its tokenizer has; `{confidence}` stands for the statement.",
        expert=True,
        max_length=2000,
        paper=CAOPD,
    )
    target: Literal["teacher", "one_hot"] = option(
        "teacher",
        title="Confidence learnt from",
        help="teacher: its distribution over what it was told. one_hot: the measured number itself, for teachers too small to copy it.",
        paper=CAOPD,
    )
    weight: float = option(
        1.0,
        title="Confidence weight",
        help="Of the confidence's tokens beside the others.",
        ge=0,
        le=100,
        expert=True,
    )

    @field_validator("note")
    @classmethod
    def _has_the_confidence(cls, note: str) -> str:
        if "{confidence}" not in note:
            raise ValueError(
                "must contain {confidence}, or the teacher is not told it; turn in_note off to tell it nothing"
            )
        return note


class FixedControl(Section):
    """The same number of answers for each problem; all are waited for."""

    kind: Literal["fixed"] = "fixed"


class NoReplay(Section):
    """Nothing is kept for a later round."""

    kind: Literal["none"] = "none"


class Rollouts(Section):
    """The four rooms that a rollout passes."""

    generate: PlainGenerate = option(
        title="Generate", help="How answers are made.", factory=PlainGenerate
    )
    filter: Annotated[VerifierFilter | CalibratedFilter, Field(discriminator="kind")] = option(
        title="Filter", help="How answers are judged.", factory=VerifierFilter, expert=True
    )
    control: FixedControl = option(
        title="Control",
        help="How many answers each problem gets.",
        factory=FixedControl,
        expert=True,
    )
    replay: NoReplay = option(
        title="Replay", help="What is kept for later.", factory=NoReplay, expert=True
    )
