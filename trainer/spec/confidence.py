"""How an answer states its confidence: the instruction to the student and the wording."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from trainer.spec.base import CAOPD, Section, option

# What may follow the number: closing punctuation, emphasis, then words without digits or %.
AFTER = re.compile(r"""[.,;:!?)\]}"'$]*[*_`]*( [^%\d]*)?""")
# Ignored between the words of a statement.
EMPHASIS = re.compile(r"[ \t*_`]")


class NoConfidence(Section):
    """Answers state no confidence; only the probability of their tokens is measured."""

    kind: Literal["none"] = "none"


class StatedConfidence(Section):
    """Answers end with a number from 0 to 1."""

    kind: Literal["stated"] = "stated"
    wording: str = option(
        "Confidence: {value}",
        title="Wording",
        help="Text with which an answer states its confidence; `{value}` stands for the number.",
        paper=CAOPD,
        max_length=200,
    )
    own_line: bool = option(
        True, title="Own line", help="The wording is on a line of its own.", expert=True
    )
    # With two decimals the pass rates of K = 8 answers are at most 0.005 from what is written.
    decimals: int = option(
        2, title="Decimals", help="Decimals of the number. 1 gives eleven levels.", ge=1, le=4
    )
    instruction: str = option(
        "End with one last line that begins with `Confidence:` and gives a number from 0.0 to "
        "1.0: how likely your answer is right.",
        title="Instruction",
        help="Appended to the prompt; empty for a model that states its confidence without it.",
        expert=True,
        max_length=2000,
        multiline=True,
    )

    @field_validator("wording")
    @classmethod
    def _can_be_read_back(cls, wording: str) -> str:
        """Raise ValueError for a wording that `trainer.text.calibration.codec` could not parse.

        It looks for the words before the number, then reads to the next space or emphasis.
        """
        before, placeholder, after = wording.partition("{value}")
        if not placeholder or not any(character.isalnum() for character in before):
            raise ValueError(
                "must be words followed by {value}, as in `Confidence: {value}`, or the number "
                "cannot be read back"
            )
        if "{value}" in after:
            raise ValueError("must contain {value} once")
        if not wording.isprintable():
            raise ValueError(
                "must be on one line, with spaces as the only white space, or it cannot be read "
                "back"
            )
        if not AFTER.fullmatch(after):
            raise ValueError(
                "may have only closing punctuation, or a space and words without % or digits, "
                "after {value}"
            )
        return wording

    @model_validator(mode="after")
    def _has_one_start(self) -> StatedConfidence:
        """Raise ValueError if the words before the number occur again after it in running text.

        The second occurrence would be read as another statement, one without a number.
        """
        before, _, after = (EMPHASIS.sub("", text) for text in self.wording.partition("{value}"))
        # A statement on its own line ends with the line, so its own end cannot start another one.
        if not self.own_line and before.casefold() in after.casefold():
            raise ValueError(
                "wording repeats the words before {value} after it, so that the number cannot be "
                "read back; use other words after {value}, or set own_line"
            )
        return self


Confidence = Annotated[NoConfidence | StatedConfidence, Field(discriminator="kind")]
