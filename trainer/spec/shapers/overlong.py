from __future__ import annotations

from typing import Literal

from trainer.spec.base import option
from trainer.spec.objectives.objective import Need, Write
from trainer.spec.shapers.shaper import Shaper

DAPO = "DAPO, arXiv 2503.14476"


class OverlongShaper(Shaper):
    """Answers that nearly or fully use the allowed length are worth less than their verdict.

    The penalty grows linearly over the last tokens of the allowed length.
    """

    kind: Literal["overlong"] = "overlong"
    title = "Penalty for long answers"
    function = "trainer.text.shapers.overlong:shape"
    writes = {Write.ADVANTAGES: "adds"}
    needs = frozenset({Need.GROUP_VERDICTS})
    per_token = False
    # A fifth of the length: DAPO has 4,096 of 20,480 tokens.
    share: float = option(
        0.2,
        title="Penalised share",
        help="Share of the longest answer's length, at its end, over which the penalty grows.",
        gt=0,
        le=1,
        paper=DAPO,
    )
    # DAPO's rewards are −1 and 1, and its largest penalty is −1: half of their difference.
    penalty: float = option(
        0.5,
        title="Largest penalty",
        help="Penalty of an answer of the allowed length, in differences of right and wrong.",
        gt=0,
        le=10,
        paper=DAPO,
    )

    def describe(self) -> str:
        return f"a penalty for the last {self.share:.0%} of the allowed length"
