"""How an answer states its confidence: what the student is asked for, and how it is written."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from trainer.spec.base import Section, option

CAOPD = "CaOPD, arXiv 2604.16830"
AFTER = re.compile(r"""[.,;:!?)\]}"'$]*[*_`]*( [^%\d]*)?""")


class NoConfidence(Section):
    """Answers state no confidence; that of their tokens is measured all the same."""

    kind: Literal["none"] = "none"


class StatedConfidence(Section):
    """Answers end with a number from 0 to 1."""

    kind: Literal["stated"] = "stated"
    wording: str = option(
        "Confidence: {value}",
        title="Wording",
        help="What an answer says; `{value}` is the number.",
        paper=CAOPD,
        max_length=200,
    )
    own_line: bool = option(
        True, title="On a line of its own", help="Whether the wording begins a line.", expert=True
    )
    decimals: int = option(
        2, title="Decimals", help="Of the number. 1 gives eleven levels.", ge=1, le=4
    )
    instruction: str = option(
        "End with one last line that begins with `Confidence:` and gives a number from 0.0 to 1.0: how likely your answer is right.",
        title="Instruction",
        help="Added to the prompt; empty for a model that states it unasked.",
        expert=True,
        max_length=2000,
    )

    @field_validator("wording")
    @classmethod
    def _can_be_read_back(cls, wording: str) -> str:
        """`trainer.text.calibration.codec` finds the words before the number, then reads on to the
        next space or emphasis.
        """
        before, found, after = wording.partition("{value}")
        if not found or not any(character.isalnum() for character in before):
            raise ValueError(
                "must be words followed by {value}, as in `Confidence: {value}`, or the number could not be found again"
            )
        if "{value}" in after:
            raise ValueError("must contain {value} once")
        if not wording.isprintable():
            raise ValueError(
                "must be on one line, with no white space but blanks, or it could not be found again"
            )
        if not AFTER.fullmatch(after):
            raise ValueError(
                "must have closing punctuation, or a blank and words without % or digits, after {value}, if anything"
            )
        return wording


Confidence = Annotated[NoConfidence | StatedConfidence, Field(discriminator="kind")]
