from __future__ import annotations

from typing import Literal

from trainer.spec.verifiers.number_format import NumberFormat
from trainer.spec.verifiers.verifier import Verifier


class MathVerifier(Verifier, NumberFormat):
    """The answer must be mathematically equal to the reference, by math-verify (LaTeX or plain)."""

    kind: Literal["math"] = "math"
    function = "trainer.text.verifiers.math:MathJudge"

    def describe(self) -> str:
        return "mathematical equality"
