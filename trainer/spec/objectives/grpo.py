from __future__ import annotations

from typing import Literal

from trainer.spec.base import option
from trainer.spec.objectives.objective import Need, Objective

DAPO = "DAPO, arXiv 2503.14476"


class GRPO(Objective):
    """Clipped surrogate loss without a teacher.

    The advantages are the verdicts of a problem's answers minus their mean.
    """

    kind: Literal["grpo"] = "grpo"
    function = "trainer.text.objectives.grpo:loss"
    needs = frozenset({Need.OLD_LOGPROB, Need.GROUP_VERDICTS})
    answers = "own"
    # 0.2 and 0.28 are DAPO's “clip higher”: a wider upper range lets unlikely tokens grow.
    clip_low: float = option(
        0.2,
        title="Lower clip range",
        help="Ratios below 1 − this value have no gradient.",
        gt=0,
        lt=1,
        expert=True,
        paper=DAPO,
    )
    clip_high: float = option(
        0.28,
        title="Upper clip range",
        help="Ratios above 1 + this value have no gradient.",
        gt=0,
        le=10,
        expert=True,
        paper=DAPO,
    )
    standardise: bool = option(
        True,
        title="Standardised advantages",
        help="Divide the advantages of a problem by their standard deviation.",
        expert=True,
    )

    def describe(self) -> str:
        return "GRPO on the verdicts"
