from __future__ import annotations

from typing import Literal

from trainer.spec.base import option
from trainer.spec.verifiers.verifier import Verifier


class ExactVerifier(Verifier):
    """The text of the answer must equal the reference, ignoring white space."""

    kind: Literal["exact"] = "exact"
    function = "trainer.text.verifiers.exact:ExactJudge"
    after: str = option(
        "",
        title="Answer marker",
        help="The answer is the text after the last occurrence of the marker, such as `Answer:`. "
        "Empty: all of the text.",
    )
    ignore_case: bool = option(False, title="Case-insensitive comparison", help="A equals a.")

    def describe(self) -> str:
        return "the same text"
