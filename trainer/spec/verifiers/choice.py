from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from trainer.spec.base import option
from trainer.spec.verifiers.verifier import Verifier


class ChoiceVerifier(Verifier):
    """The letter that the answer chooses must be that of the reference."""

    kind: Literal["choice"] = "choice"
    function = "trainer.text.verifiers.choice:ChoiceJudge"
    choices: str = option(
        "ABCD", title="Choices", help="Letters of the choices.", min_length=2, max_length=26
    )

    @field_validator("choices")
    @classmethod
    def _different_letters(cls, choices: str) -> str:
        if not (choices.isascii() and choices.isalpha()) or len(set(choices.upper())) != len(
            choices
        ):
            raise ValueError("must be different letters from A to Z, as in ABCD")
        return choices.upper()

    def describe(self) -> str:
        return "the same letter"
