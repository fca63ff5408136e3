from __future__ import annotations

from typing import Literal

from trainer.spec.base import option
from trainer.spec.verifiers.number_format import NumberFormat
from trainer.spec.verifiers.verifier import Verifier


class NumericVerifier(Verifier, NumberFormat):
    """The number of the answer must equal the reference within a tolerance."""

    kind: Literal["numeric"] = "numeric"
    function = "trainer.text.verifiers.numeric:NumericJudge"
    tolerance: float = option(
        0.0, title="Relative tolerance", help="0 requires equal decimal numbers.", ge=0
    )

    def describe(self) -> str:
        return "the same number"
